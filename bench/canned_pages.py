"""Pages of a listing as the Blob service writes them, made up: 5,000 entries each, with metadata, properties in full.

A page is the same for every place in the listing but for its number, which its names hold.
"""

from __future__ import annotations

from functools import cache, lru_cache

PAGE_ENTRIES = 5000
_PLACE = b"@@@@@@@@"  # stands for the page's number
_KEPT_PAGES = 48


@lru_cache(maxsize=_KEPT_PAGES)
def page(number: int, pages: int, *, snapshots: bool) -> bytes:
    """Page `number` (from 0) of so many; its marker is the number of the next.

    Args:
        snapshots: half of the entries are snapshots, one of each blob, before it.
    """
    following = f"{number + 1}".encode() if number + 1 < pages else b""
    end = b"<NextMarker>" + following + b"</NextMarker>" if following else b"<NextMarker />"
    return _template(snapshots=snapshots).replace(_PLACE, f"{number:08d}".encode()) + end + b"</EnumerationResults>"


@cache
def _template(*, snapshots: bool) -> bytes:
    blobs = range(PAGE_ENTRIES // 2 if snapshots else PAGE_ENTRIES)
    entries = b"".join(
        entry for index in blobs for entry in ((_entry(index, taken=True),) if snapshots else ()) + (_entry(index),)
    )
    return (
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?>'
        b'<EnumerationResults ServiceEndpoint="https://canned.blob.core.windows.net/" ContainerName="canned">'
        b"<MaxResults>5000</MaxResults><Blobs>" + entries + b"</Blobs>"
    )


def _entry(index: int, *, taken: bool = False) -> bytes:
    name = f"lake/orders/batch={_PLACE.decode()}/part-{index:05d}.snappy.parquet"
    snapshot = f"<Snapshot>2026-11-20T14:{index // 60 % 60:02d}:{index % 60:02d}.1234567Z</Snapshot>" if taken else ""
    return (
        f"<Blob><Name>{name}</Name>{snapshot}<Properties>"
        "<Creation-Time>Fri, 20 Nov 2026 14:05:33 GMT</Creation-Time>"
        "<Last-Modified>Fri, 20 Nov 2026 14:05:33 GMT</Last-Modified>"
        f"<Etag>0x8DE27F0A{index:07X}</Etag><Content-Length>{4096 + index}</Content-Length>"
        "<Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language />"
        "<Content-CRC64 /><Content-MD5>CY9rzUYh03PK3k6DJie09g==</Content-MD5><Cache-Control /><Content-Disposition />"
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier><AccessTierInferred>true</AccessTierInferred>"
        "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted>"
        f"</Properties><Metadata><run>{index}</run><owner>platform</owner></Metadata><OrMetadata /></Blob>"
    ).encode()
