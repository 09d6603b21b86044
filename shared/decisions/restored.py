"""What a restored blob must be like, and whether the one that stands there is it."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

from shared.decisions.restoring import Held, Job, Mode, Place, Step
from shared.model import BlobState, Entry

RESTORING = "snapkeep_restoring"
"""The metadata of a restored blob that is still being written, piece by piece: whose it is, and of what."""

KEPT_MD5 = "snapkeep_md5"
"""The index tag of a backup that tells the MD5 of its bytes where the service holds none."""


def entry_of(state: BlobState) -> Entry:
    """What a HEAD told, as a listing would have."""
    name, etag, last_modified, size = state.version
    metadata = {key.lower(): value for key, value in state.metadata.items()}
    return Entry(
        name,
        state.snapshot,
        etag,
        last_modified,
        size,
        state.md5,
        state.blob_type,
        state.tier,
        directory=size == 0 and metadata.get("hdi_isfolder", "").lower() == "true",
        metadata=state.metadata,
        half=RESTORING in metadata,
    )


def mark(job_id: str, held: Held) -> str:
    """What tells the pieces that a job wrote from one place from all others, in ASCII.

    Of the place too: after half a copy from one that turns out damaged, the next begins anew.
    """
    place = sha256("\n".join((held.place, held.key, held.etag)).encode()).hexdigest()[:16]
    return f"{job_id}-{held.version.etag}-{place}"


def is_jobs_half(job_id: str, found: BlobState) -> bool:
    """Whether this job left the blob unfinished, from whichever place."""
    return found.metadata.get(RESTORING, "").startswith(f"{job_id}-")


def expected_md5(step: Step, blob_type: str, tags: Mapping[str, str]) -> str | None:
    """What the bytes must hash to: by the source, else by the backups, else by the hash that `verify` kept.

    The source's word comes first, since a backup's MD5 was copied from there. Only that of block blobs counts:
    the service leaves the Content-MD5 of append and page blobs as it is when blocks are appended or pages
    written, so that it may be of bytes long gone.
    """
    by_trust = sorted(step.places, key=lambda held: held.place is Place.BACKUP)
    stated = next((held.md5 for held in by_trust if held.md5), None) if blob_type == "BlockBlob" else None
    return stated or tags.get(KEPT_MD5)


def difference(found: BlobState, wanted: BlobState) -> str | None:
    """In what a blob differs from the wanted one, as far as HEADs tell; None where it may be the same.

    Where both hold an MD5, it is; without one the bytes must still be compared.
    """
    compared = (
        ("type", found.blob_type, wanted.blob_type),
        ("size", found.version.size, wanted.version.size),
        ("metadata", _lowered(found.metadata), _lowered(wanted.metadata)),
        ("content headers", found.headers, wanted.headers),
    )
    for what, has, wants in compared:
        if has != wants:
            return what
    if found.md5 and wanted.md5 and found.md5 != wanted.md5:
        return "MD5"
    return f"the service's copy of it is {found.copying}" if found.copying else None


def tier_must_be_said(job: Job, live: BlobState | None, wanted: BlobState) -> bool:
    """Whether a blob in place would get another tier if none were named: an overwritten blob hands its own on.

    Source: the service's rules for access tiers, "when a blob is overwritten, the new one inherits its tier".
    """
    hands_on = live is not None and live.tier and not live.tier_inferred  # append and page blobs have none to hand on
    return bool(job.mode is Mode.IN_PLACE and hands_on and live is not None and live.tier != wanted.tier)


def _lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key.lower(): value for key, value in metadata.items()}
