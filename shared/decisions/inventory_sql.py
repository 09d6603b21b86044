"""The comparison of two inventories, as DuckDB's SQL: which versions are protected, and which blobs to look at.

A version is one 64-bit hash: of the name that its backup must have, and of its size. The source's rows are given that
name, the backups have it, so nothing is parsed out of them and whatever else is there has no partner. All rows of both
accounts go through one aggregation, whose groups are versions. So nothing depends on the order of an inventory, and
DuckDB spills the groups when memory ends. What a group holds is kept small: it is most of the memory, and of the time.

Whatever is not plainly protected is only a candidate: it is looked at in the accounts themselves before anything
is done or said about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from shared.decisions.inventory import field_in
from shared.decisions.names import LONG_NAMES, MAX_NAME_CHARACTERS, MAX_PATH_SEGMENTS

LIVE, SNAPSHOT, BACKUP, ODD, READABLE = 1, 2, 4, 8, 16
"""What the rows of a version say together: among others that it needs a key, or stands outside the archive tier."""

PROTECTED, ARCHIVED, CANDIDATE = 1, 2, 3
"""What a version is, as far as inventories tell."""

_STAMP = "%Y%m%dT%H%M%SZ-"
_STAMP_CHARACTERS = len("20261120T140533Z-")
"""A version's time in its backup's name, which an ETag follows."""

_PLAIN_BYTES = 253
"""A name of no more bytes makes a backup's name that is neither too long nor too deep."""

_EXTENSION = r"regexp_extract(blob_name, '[^/.][^/]*(\.[^./]+)$', 1)"
"""As `shared.decisions.names` has it: it begins at the last dot, which must not be among a name's leading dots."""

FIELDS = (
    "Name",
    "Snapshot",
    "VersionId",
    "IsCurrentVersion",
    "Etag",
    "Last-Modified",
    "Content-Length",
    "Content-MD5",
    "BlobType",
    "AccessTier",
    "hdi_isfolder",
    "Deleted",
    "Metadata",
    "CustomerProvidedKeySha256",
)

Columns = Mapping[str, str]
"""The type of each column of an inventory's files, by the name that it has there."""


class Row:
    """Expressions over the columns of one account's rows."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def has(self, name: str) -> bool:
        return field_in(self._columns, name) is not None

    def text(self, name: str) -> str:
        """The column as text; NULL where it is empty, or where there is none."""
        column = field_in(self._columns, name)
        if column is None:
            return "NULL::VARCHAR"
        return f"nullif(files.{_quoted(column)}::VARCHAR, '')"

    def true(self, name: str) -> str:
        return f"coalesce(lower({self.text(name)}) = 'true', false)"

    @property
    def name(self) -> str:
        """`<container>/<blob>`"""
        column = field_in(self._columns, "Name")
        return f"files.{_quoted(column or 'Name')}"

    @property
    def size(self) -> str:
        column = field_in(self._columns, "Content-Length")
        if column is not None and self._columns[column].upper() in {"BIGINT", "UBIGINT", "INTEGER", "UINTEGER"}:
            return f"files.{_quoted(column)}::BIGINT"  # the hash of another type's number is another
        return f"{self.text('Content-Length')}::BIGINT"

    @property
    def etag(self) -> str:
        """Without quotes, as everywhere."""
        etag = self.text("Etag")
        return f"CASE WHEN starts_with({etag}, '\"') THEN trim({etag}, '\"') ELSE {etag} END"

    @property
    def modified(self) -> str:
        """A TIMESTAMP in UTC: Parquet holds milliseconds since 1970, with or without saying so; CSV a text."""
        column = field_in(self._columns, "Last-Modified")
        if column is None:
            return "NULL::TIMESTAMP"
        kind, value = self._columns[column].upper(), f"files.{_quoted(column)}"
        if kind == "VARCHAR":
            http_date = f"try_strptime({value}, '%a, %d %b %Y %H:%M:%S GMT')"
            return f"coalesce(try_cast({value} AS TIMESTAMP), {http_date})"
        if kind == "TIMESTAMP WITH TIME ZONE":
            return f"make_timestamp(epoch_us({value}))"
        if kind.startswith("TIMESTAMP"):
            return f"{value}::TIMESTAMP"
        return f"make_timestamp({value}::BIGINT * 1000)"

    @property
    def snapshot(self) -> str:
        return self.text("Snapshot")

    @property
    def is_blob(self) -> str:
        """Neither soft-deleted, nor an older version, nor a directory: as a listing's reader has it."""
        older = (
            f"({self.text('VersionId')} IS NOT NULL AND {self.snapshot} IS NULL"
            f" AND NOT {self.true('IsCurrentVersion')})"
        )
        folder = f"({self.size} = 0 AND regexp_matches({self.text('Metadata')}, '(?i)hdi_isfolder\\W+true'))"
        hidden = (
            (self.has("Deleted"), self.true("Deleted")),
            (self.has("VersionId"), older),
            (self.has("hdi_isfolder"), self.true("hdi_isfolder")),
            (self.has("Metadata"), f"coalesce({folder}, false)"),
        )
        return " AND ".join(f"NOT {condition}" for known, condition in hidden if known) or "true"


def parquet(paths: Sequence[str]) -> str:
    """The rows of Parquet files."""
    return f"read_parquet([{', '.join(map(_text, paths))}], union_by_name = true)"


def csv(path: str, header: Sequence[str]) -> str:
    """The rows of a CSV file, all columns as text.

    Args:
        header: its first row.
    """
    names = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in header)
    return (
        f"read_csv({_text(path)}, auto_detect = false, header = true, columns = {{{names}}}, "
        "delim = ',', quote = '\"', escape = '\"', nullstr = '', max_line_size = 16777216)"
    )


def only_needed(rows: str, header: Sequence[str]) -> str:
    """The columns that a comparison may ask for."""
    found = [column for name in FIELDS if (column := field_in(header, name)) is not None]
    return f"SELECT {', '.join(map(_quoted, found))} FROM {rows}"


def source_keys(rows: str, columns: Columns) -> str:
    """One row of each live blob and snapshot: container, name and version as hashes, and what is compared."""
    row = Row(columns)
    odd = f"{row.text('CustomerProvidedKeySha256')} IS NOT NULL" if row.has("CustomerProvidedKeySha256") else "false"
    return f"""
        SELECT container, blob_name, snapshot, etag, modified, size, md5, blob_type, tier,
            hash(blob_name) AS blob, hash({_backup_name()}, size) AS version, {_md5_hash()} AS md5_hash,
            try_cast(epoch_us(modified) // 1000000 AS UINTEGER) AS second,
            ((CASE WHEN snapshot IS NULL THEN {LIVE} ELSE {SNAPSHOT} END) + (CASE WHEN odd THEN {ODD} ELSE 0 END)
                + (CASE WHEN tier = 'Archive' THEN 0 ELSE {READABLE} END))::UTINYINT AS said
        FROM (
            SELECT *, split_part(blob_name, '.', -1) AS after_dot
            FROM (
                SELECT containers.id AS container, containers.name AS container_name,
                    containers.backup AS backup_container, {row.name} AS blob_name,
                    {row.snapshot} AS snapshot, {row.etag if row.has("Etag") else "NULL::VARCHAR"} AS etag,
                    {row.modified} AS modified, coalesce({row.size}, -1) AS size, {row.text("Content-MD5")} AS md5,
                    {odd} AS odd, {row.text("BlobType")} AS blob_type, {row.text("AccessTier")} AS tier
                FROM {rows} AS files
                JOIN containers ON containers.name = left({row.name}, instr({row.name}, '/') - 1)
                WHERE {row.is_blob}
            )
        )"""


def backup_keys(rows: str, columns: Columns, *, by_etag: bool) -> str:
    """The same of each backup, as far as its name tells; whatever else is there is of no version.

    Args:
        by_etag: whether versions are told apart by ETag; else by Last-Modified.
    """
    row = Row(columns)
    return f"""
        SELECT NULL::INTEGER AS container, NULL::UBIGINT AS blob,
            hash({"full_name" if by_etag else _without_etag()}, size) AS version, NULL::UINTEGER AS second,
            {_md5_hash()} AS md5_hash, {BACKUP}::UTINYINT AS said
        FROM (
            SELECT {row.name} AS full_name, coalesce({row.size}, -2) AS size, {row.text("Content-MD5")} AS md5
            FROM {rows} AS files
            WHERE {row.is_blob} AND {row.snapshot} IS NULL
        )"""


def versions(source: str, backup: str, history: Literal["all", "current"]) -> str:
    """One row of each version that the source holds, with what it is: PROTECTED, ARCHIVED or CANDIDATE."""
    counted = f"said & {LIVE} <> 0" if history == "current" else f"said & {LIVE | SNAPSHOT} <> 0"
    return f"""
        SELECT container, blob, version, second, said & {LIVE} <> 0 AS live, CASE
            WHEN same_md5 AND said & {SNAPSHOT | BACKUP | ODD} = {SNAPSHOT | BACKUP} THEN {PROTECTED}
            WHEN said & {SNAPSHOT | BACKUP | ODD | READABLE} = {SNAPSHOT} THEN {ARCHIVED}
            ELSE {CANDIDATE} END AS found
        FROM (
            SELECT version, max(container) AS container, max(blob) AS blob, bit_or(said) AS said,
                min(second) AS second, coalesce(min(md5_hash) = max(md5_hash), true) AS same_md5
            FROM (
                SELECT container, blob, version, second, md5_hash, said FROM ({source})
                UNION ALL
                SELECT container, blob, version, second, md5_hash, said FROM ({backup})
            )
            GROUP BY version
        )
        WHERE {counted}"""


class Draw(NamedTuple):
    """Which protected versions to draw of each container.

    Each version has a place among all others, a number below 2**64 that stays its own. `to_prove` are drawn of those
    from `first` to `last`, `to_restore` of all; another `seed` draws others.
    """

    to_prove: int = 0
    to_restore: int = 0
    seed: int = 0
    first: int = 0
    last: int = 2**64 - 1


def totals(found: str, draw: Draw) -> str:
    """What `versions` gives, counted: a row of each container, and one of each blob that is not protected in full."""
    protected = f"found = {PROTECTED}"
    of_the_day = f"{protected} AND place BETWEEN {draw.first} AND {draw.last}"
    version, order = "{'blob': blob, 'version': version}", f"hash(place, {draw.seed})"
    lists = [
        f"min_by({version}, {order}, {count}) FILTER ({condition})" if count else "NULL"
        for count, condition in ((draw.to_prove, of_the_day), (draw.to_restore, protected))
    ]
    return f"""
        SELECT container, CASE WHEN found <> {PROTECTED} THEN blob END AS blob,
            count(*) FILTER (live) AS live, count(*) AS versions,
            count(*) FILTER ({protected}) AS protected, count(*) FILTER (found = {ARCHIVED}) AS archived,
            count(*) FILTER (found = {CANDIDATE}) AS candidates,
            min(second) FILTER (found = {ARCHIVED}) AS oldest, count(*) FILTER ({of_the_day}) AS of_the_day,
            {lists[0]} AS to_prove, {lists[1]} AS to_restore
        FROM (SELECT *, {"hash(blob, version)" if draw.to_prove or draw.to_restore else "0"} AS place FROM ({found}))
        GROUP BY ALL"""


def _md5_hash() -> str:
    """Half a hash, as a group's state is to be small: one corruption in 2^32 is left to `verify`."""
    return "CASE WHEN md5 IS NOT NULL THEN (hash(md5) >> 32)::UINTEGER END"


def _without_etag() -> str:
    """A backup's name without the ETag in it, as `_backup_name` gives it where there are no ETags."""
    last = "parse_filename(full_name, false, 'forward_slash')"
    to_stamp = f"left(full_name, length(full_name) - length({last}) + {_STAMP_CHARACTERS})"
    return f"concat({to_stamp}, CASE WHEN contains({last}, '.') THEN substr({last}, instr({last}, '.')) END)"


def _backup_name() -> str:
    """As `shared.decisions.names.backup_name` has it, with the container before it.

    Nearly all names are short and have an extension that a few searches for one character find. The regular
    expression, which knows all names, takes ten times as long.
    """
    plain = (
        f"strlen(blob_name) <= {_PLAIN_BYTES} AND after_dot <> ''"
        " AND NOT contains(after_dot, '/') AND NOT contains(blob_name, '/.')"
    )
    folder = "backup_container, substr(blob_name, strlen(container_name) + 1), '/'"
    long_folder = f"backup_container, '/{LONG_NAMES}/', sha256({_blob_alone()}), '/'"
    version = f"strftime(modified, '{_STAMP}'), etag"  # `concat` passes over what is NULL
    return f"""CASE
        WHEN {plain} THEN concat({folder}, {version}, '.', after_dot)
        WHEN {_is_long()} THEN concat({long_folder}, {version}, {_long_extension()})
        ELSE concat({folder}, {version}, {_EXTENSION}) END"""


def _blob_alone() -> str:
    return "substr(blob_name, strlen(container_name) + 2)"


def _stamp_and_etag() -> str:
    # An ETag that is not known is as long as they all are.
    return f"repeat('0', {_STAMP_CHARACTERS}) || coalesce(etag, '0x8DE27F0A1B2C3D4')"


def _is_long() -> str:
    """Whether `shared.decisions.names.backup_name` puts a hash in place of the name."""
    backup = f"({_blob_alone()} || '/' || {_stamp_and_etag()} || {_EXTENSION})"
    slashes = f"strlen({backup}) - strlen(replace({backup}, '/', ''))"
    return f"({_utf16_units(backup)} > {MAX_NAME_CHARACTERS} OR {slashes} >= {MAX_PATH_SEGMENTS})"


def _long_extension() -> str:
    """The extension of a hashed name, where there is room for it."""
    name = f"('{LONG_NAMES}/' || repeat('0', 65) || {_stamp_and_etag()} || {_EXTENSION})"
    return f"CASE WHEN {_utf16_units(name)} <= {MAX_NAME_CHARACTERS} THEN {_EXTENSION} ELSE '' END"


def _utf16_units(text: str) -> str:
    beyond = f"strlen(regexp_replace({text}, '[^\\x{{10000}}-\\x{{10FFFF}}]', '', 'g')) // 4"
    return f"(length({text}) + {beyond})"


def _quoted(column: str) -> str:
    doubled = column.replace('"', '""')
    return f'"{doubled}"'


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"
