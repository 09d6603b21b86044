"""Files in one directory of this machine: written whole or not at all, and never outside it, whatever links are there.

Each part of a name is opened by itself, relative to the folder before it, and links are never followed. A file is
written under a name of its own, and gets its real one when every byte is on the disk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from hashlib import md5, sha256
from pathlib import Path
from secrets import token_hex
from threading import RLock

from shared.decisions.local_names import UNFINISHED_PREFIX, LocalName, clash
from shared.errors import BadParameter, DirectoryUnusable, FileRefused, SnapkeepError

if sys.platform != "win32":  # where a directory is refused, and the rest of the command works
    import fcntl

READ_BYTES = 1024 * 1024
MAX_FOLDERS_KNOWN = 64
"""Of so many folders the names are kept in memory, where the file system confuses some: names come sorted."""

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_FILE = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_UNUSABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class NewFile:
    """A file that is being written."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor

    def write(self, piece: bytes) -> None:
        with _failures(self.name):
            left = memoryview(piece)
            while left:
                left = left[os.write(self.descriptor, left) :]


class Directory:
    """One directory. Its methods block: call them in a thread.

    Attributes:
        tells_apart: whether the file system takes names that differ in case alone, or in how their accents
            are written, for two.
    """

    def __init__(self, path: Path, owner: str, *, tells_apart: bool | None = None) -> None:
        """Opens the directory, makes it where there is none, and clears away what a crash of `owner` left in it.

        What another process of `owner` is writing just now is locked, and stays.

        Raises:
            BadParameter: it is not a directory, or this system cannot confine files to one.
            DirectoryUnusable: it cannot be written to.
        """
        if os.open not in os.supports_dir_fd:
            raise BadParameter("restoring to a directory needs Linux or macOS; on Windows, use WSL")
        self._own = f"{UNFINISHED_PREFIX}{sha256(owner.encode()).hexdigest()[:12]}-"
        self._known: OrderedDict[tuple[int, int], set[str]] = OrderedDict()
        self._lock = RLock()
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except (FileExistsError, NotADirectoryError) as error:
            raise BadParameter(f"{path} is not a directory") from error
        except OSError as error:
            raise DirectoryUnusable(f"{path}: {error.strerror}") from error
        try:
            self._clear()
            self.tells_apart = self._probe() if tells_apart is None else tells_apart
        except BaseException:
            os.close(self._root)
            raise

    def close(self) -> None:
        os.close(self._root)

    def size_of(self, name: LocalName) -> int | None:
        """The size of the file of this name; None where there is none.

        Raises:
            FileRefused: something else than a file stands there, or on the way there.
        """
        with self._opened(name) as descriptor:
            return None if descriptor is None else os.fstat(descriptor).st_size

    def digest_of(self, name: LocalName) -> bytes | None:
        """The MD5 of the file of this name; None where there is none."""
        digest = md5(usedforsecurity=False)
        with self._opened(name) as descriptor:
            if descriptor is None:
                return None
            while piece := os.read(descriptor, READ_BYTES):
                digest.update(piece)
        return digest.digest()

    def create(self) -> NewFile:
        """A new file without a name of its own as yet."""
        name = f"{self._own}{token_hex(8)}"
        with _failures(name):
            file = NewFile(name, os.open(name, _NEW, 0o666, dir_fd=self._root))
        _lock(file.descriptor)
        return file

    def discard(self, file: NewFile) -> None:
        """Ends with a file that did not get a name."""
        os.close(file.descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(file.name, dir_fd=self._root)

    def publish(self, file: NewFile, name: LocalName, modified_at: float, *, overwrite: bool) -> None:
        """Gives a file that is written its name, in one step, once all of it is on the disk; then `discard` it.

        Args:
            modified_at: its time of modification, in seconds since 1970.
            overwrite: whether a file that stands there is replaced.

        Raises:
            FileRefused: something stands there that is not replaced.
        """
        with _failures(name.path):
            os.utime(file.descriptor, (modified_at, modified_at))
            os.fsync(file.descriptor)
            folder = self._folder(name.segments[:-1], create=True)
            try:
                # Between the look and the name no other file may get one that is taken for this.
                with contextlib.nullcontext() if self.tells_apart else self._lock:
                    self._check_clash(folder, name.segments[-1])
                    self._place(file, folder, name.segments[-1], overwrite=overwrite)
                    self._remember(folder, name.segments[-1])
                os.fsync(folder)
            finally:
                os.close(folder)

    def _place(self, file: NewFile, folder: int, segment: str, *, overwrite: bool) -> None:
        there = _kind(folder, segment)
        if there is not None and not (overwrite and stat.S_ISREG(there)):
            raise FileRefused(f"{_what(there)} stands there; it is left as it is")
        if overwrite:
            os.replace(file.name, segment, src_dir_fd=self._root, dst_dir_fd=folder)
            return
        try:
            # Linking fails where a name is taken by now; renaming would overwrite it.
            os.link(file.name, segment, src_dir_fd=self._root, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise FileRefused("a file stands there; it is left as it is") from None
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            os.rename(file.name, segment, src_dir_fd=self._root, dst_dir_fd=folder)  # a FAT disk, or some shares

    def _folder(self, segments: Sequence[str], *, create: bool) -> int:
        """A descriptor of the folder.

        Raises:
            FileNotFoundError: there is none, and it is not to be created.
            FileRefused: a file or a link stands in its way.
        """
        folder = os.dup(self._root)
        for number, segment in enumerate(segments):
            try:
                # Between the look and the folder no other thread may make one that is taken for this.
                with contextlib.nullcontext() if self.tells_apart else self._lock:
                    self._check_clash(folder, segment)
                    below = self._open_folder(folder, segment, create=create)
            except NotADirectoryError:
                path = "/".join(segments[: number + 1])
                raise FileRefused(
                    f"its folder {path} cannot be made: a file or a link of that name stands there"
                ) from None
            finally:
                os.close(folder)
            folder = below
        return folder

    def _open_folder(self, folder: int, segment: str, *, create: bool) -> int:
        try:
            return _open_no_link(segment, _FOLDER, folder)
        except FileNotFoundError:
            if not create:
                raise
        with contextlib.suppress(FileExistsError):  # another file of that folder was quicker
            os.mkdir(segment, dir_fd=folder)
            os.fsync(folder)
        self._remember(folder, segment)
        return _open_no_link(segment, _FOLDER, folder)

    @contextlib.contextmanager
    def _opened(self, name: LocalName) -> Iterator[int | None]:
        """A descriptor of the file of this name, to read; None where there is none."""
        with _failures(name.path), contextlib.ExitStack() as closing:
            try:
                folder = self._folder(name.segments[:-1], create=False)
                closing.callback(os.close, folder)
                self._check_clash(folder, name.segments[-1])
                there = _kind(folder, name.segments[-1])
                if there is not None and not stat.S_ISREG(there):
                    raise FileRefused(f"{_what(there)} stands there; it is left as it is")
                descriptor = os.open(name.segments[-1], _FILE, dir_fd=folder)
                closing.callback(os.close, descriptor)
            except FileNotFoundError:
                yield None
                return
            yield descriptor

    def _check_clash(self, folder: int, segment: str) -> None:
        """Raises FileRefused where the file system would take this name for one that is there."""
        if self.tells_apart:
            return
        with self._lock:
            other = clash(segment, self._names(folder))
        if other is not None:
            raise FileRefused(
                f"the file system does not tell {segment!r} from {other!r}, which stands there: "
                "restore one of them elsewhere"
            )

    def _remember(self, folder: int, segment: str) -> None:
        if self.tells_apart:
            return
        with self._lock:
            self._names(folder).add(segment)

    def _names(self, folder: int) -> set[str]:
        found = os.fstat(folder)
        key = (found.st_dev, found.st_ino)
        if key not in self._known:
            self._known[key] = set(os.listdir(folder))
            if len(self._known) > MAX_FOLDERS_KNOWN:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return self._known[key]

    def _clear(self) -> None:
        for name in os.listdir(self._root):  # noqa: PTH208  # a descriptor, which no Path is
            if name.startswith(self._own):
                with contextlib.suppress(FileNotFoundError):
                    self._clear_one(name)

    def _clear_one(self, name: str) -> None:
        descriptor = os.open(name, _FILE, dir_fd=self._root)
        try:
            if _lock(descriptor):
                os.unlink(name, dir_fd=self._root)
        finally:
            os.close(descriptor)

    def _probe(self) -> bool:
        """Tries whether the file system tells names apart that differ in case, or in how an accent is written."""
        name = f"{self._own}{token_hex(8)}-\u00e9"
        with _failures(name):
            os.close(os.open(name, _NEW, 0o666, dir_fd=self._root))
            try:
                others = (name.upper(), name.replace("\u00e9", "e\u0301"))
                return not any(_kind(self._root, other) is not None for other in others)
            finally:
                os.unlink(name, dir_fd=self._root)


def _lock(descriptor: int) -> bool:
    """Marks a file as being written, until it is closed; False where another process has it marked.

    Where the file system knows no locks, none is marked.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _open_no_link(segment: str, flags: int, folder: int) -> int:
    try:
        return os.open(segment, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:  # what some systems say of a link, others that it is no directory
            raise NotADirectoryError(error.errno, error.strerror) from None
        raise


def _kind(folder: int, segment: str) -> int | None:
    """The mode of what stands there itself, a link too; None where nothing does."""
    try:
        return os.stat(segment, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


def _what(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "another file"
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a link" if stat.S_ISLNK(mode) else "something that is not a file"


@contextlib.contextmanager
def _failures(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"{doing}: {error.strerror}"
        if error.errno in _UNUSABLE:
            raise DirectoryUnusable(text) from error
        raise SnapkeepError(text) from error
