"""How an entry lies in a store: a head (lengths, checksums, metadata) and the body, bound to the cache key.

    head = magic "AC" | frame version u8 | 0 u8 | metadata length u32 | body length u32 | crc u32 | crc u32 | metadata
    body = the bytes as they came
    trailers, only where head and body lie in one value:
        "ACmk" | mark u64 | crc u32    the tenant's mark when it was written
        "ACst" | since f64 | crc u32   only of an outdated entry

The first checksum covers cache key and metadata, the second continues it over the body, so a frame that was
damaged, cut or moved to another key does not open. Values are bytes and MessagePack only; nothing is ever unpickled.
"""

from __future__ import annotations

import struct
from zlib import crc32

import msgspec

from agentcache.engine.entries import ENTRY_FORMAT, Entry, EntryMeta, Mark

#: Frame versions. A store opens only the one it writes: what was sealed is never served as it lies, nor the reverse.
PLAIN = 1
SEALED = 2
#: What sealing adds to a body: version, nonce and tag.
SEAL_BYTES = 29
_HEADER = struct.Struct("<2sBBIIII")
HEADER_BYTES = _HEADER.size
_MAGIC = b"AC"
_MARK_TRAILER = struct.Struct("<4sQI")
_STALE_TRAILER = struct.Struct("<4sdI")
_MARK_MAGIC = b"ACmk"
_STALE_MAGIC = b"ACst"
#: The same for both.
TRAILER_BYTES = _STALE_TRAILER.size
#: Longest metadata that is believed; `parts` of a request with thousands of members stays below.
META_BYTES_MAX = 1 << 20

_encode_meta = msgspec.msgpack.Encoder().encode
_decode_meta = msgspec.msgpack.Decoder(EntryMeta).decode
_unpack_header = _HEADER.unpack_from


class Corrupt(Exception):
    """A stored frame is not what was written."""


def pack_head(key: bytes, meta: EntryMeta, body: bytes, version: int = PLAIN) -> bytes:
    """Return the head that goes with `body` under `key`."""
    packed = _encode_meta(meta)
    meta_crc = crc32(packed, crc32(key))
    header = _HEADER.pack(_MAGIC, version, 0, len(packed), len(body), meta_crc, crc32(body, meta_crc))
    return header + packed


def open_frame(key: bytes, head: bytes, body: bytes, version: int = PLAIN) -> Entry:
    """Verify and decode an entry; raise `Corrupt` when anything at all is off."""
    try:
        magic, found_version, _, meta_bytes, body_bytes, meta_crc, body_crc = _unpack_header(head)
        packed = head[HEADER_BYTES:]
        if (
            magic != _MAGIC
            or found_version != version
            or len(packed) != meta_bytes
            or len(body) != body_bytes
            or crc32(packed, crc32(key)) != meta_crc
            or crc32(body, meta_crc) != body_crc
        ):
            raise Corrupt("checksum or length")
        meta = _decode_meta(packed)
    except (struct.error, msgspec.DecodeError, TypeError) as error:
        raise Corrupt(str(error)) from None
    if meta.format != ENTRY_FORMAT:
        raise Corrupt("entry format")
    return Entry(key, meta, body)


def open_head(key: bytes, head: bytes, version: int = PLAIN) -> tuple[EntryMeta, int]:
    """Return the metadata and the length of the body from a head alone; raise `Corrupt`."""
    try:
        magic, found_version, _, meta_bytes, body_bytes, meta_crc, _ = _unpack_header(head)
        packed = head[HEADER_BYTES : HEADER_BYTES + meta_bytes]
        if magic != _MAGIC or found_version != version or crc32(packed, crc32(key)) != meta_crc:
            raise Corrupt("checksum or length")
        return _decode_meta(packed), body_bytes
    except (struct.error, msgspec.DecodeError, TypeError) as error:
        raise Corrupt(str(error)) from None


def head_meta(key: bytes, head: bytes) -> EntryMeta:
    """Return the metadata of a head of either frame version; raise `Corrupt`."""
    if len(head) < HEADER_BYTES:
        raise Corrupt("length")
    return open_head(key, head, head[2])[0]


def head_bytes(frame: bytes) -> int:
    """Say how long the head of a joined frame (head + body) is; raise `Corrupt` when it has none."""
    try:
        magic, _, _, meta_bytes, _, _, _ = _unpack_header(frame)
    except (struct.error, TypeError) as error:
        raise Corrupt(str(error)) from None
    if magic != _MAGIC or meta_bytes > META_BYTES_MAX:
        raise Corrupt("header")
    return HEADER_BYTES + int(meta_bytes)


def split_frame(frame: bytes) -> tuple[bytes, bytes, bytes]:
    """Cut a joined frame into head, body and trailers; raise `Corrupt`."""
    cut = head_bytes(frame)
    end = cut + int(_unpack_header(frame)[4])
    if len(frame) - end not in (TRAILER_BYTES, 2 * TRAILER_BYTES):
        # Without trailers, or damaged: then the length of the body is wrong.
        end = len(frame)
    return frame[:cut], frame[cut:end], frame[end:]


def read_trailers(trailers: bytes) -> tuple[Mark, float | None]:
    """Return an entry's mark (0 without one) and since when (Unix seconds) it is outdated; raise `Corrupt`."""
    mark, stale_at = 0, None
    for start in range(0, len(trailers), TRAILER_BYTES):
        trailer = trailers[start : start + TRAILER_BYTES]
        magic, said, crc = _MARK_TRAILER.unpack(trailer)
        if crc != crc32(trailer[:-4]):
            raise Corrupt("trailer")
        if magic == _MARK_MAGIC:
            mark = said
        elif magic == _STALE_MAGIC:
            stale_at = float(_STALE_TRAILER.unpack(trailer)[1])
        else:
            raise Corrupt("trailer")
    return mark, stale_at


def mark_trailer(mark: Mark) -> bytes:
    """Return what is appended to a joined frame to say at which mark it was written.

    Releases that do not know it find a frame of the wrong length, and take the entry for none.
    """
    return _checked(_MARK_TRAILER.pack(_MARK_MAGIC, mark, 0))


def stale_trailer(since: float) -> bytes:
    """Return what comes last in a joined frame to say since when (Unix seconds) its answer is outdated."""
    return _checked(_STALE_TRAILER.pack(_STALE_MAGIC, since, 0))


def _checked(trailer: bytes) -> bytes:
    return trailer[:-4] + crc32(trailer[:-4]).to_bytes(4, "little")
