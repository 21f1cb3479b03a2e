"""What is kept of a question: its vector in int8 with one scale, text, analysis, word pieces and writer; sealed where there is a data key.

A sealed row is bound to tenant, cache key, partition, embedder and normal form: one that was moved does not open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Vector
from agentcache.engine.semantic.index.port import IndexRow, Neighbour
from agentcache.kit.crypto import DecryptionFailed, associated_data, open_sealed, seal

if TYPE_CHECKING:
    import numpy as np

    Bytes8 = np.ndarray[Any, np.dtype[np.int8]]

#: The first byte of a row that is kept in clear; sealed ones begin with the version of the sealing.
_CLEAR: Final = b"\x00"


class Unreadable(Exception):
    """The row is damaged, was moved, or was sealed with another key."""


class Kept(msgspec.Struct, array_like=True, frozen=True):
    """The part of a row that only its tenant reads. `values` are int8, of which `scale` makes the vector."""

    values: bytes
    scale: float
    question: str
    writer: str
    #: Rows of earlier releases have none of these.
    analysis: bytes = b""
    pieces: bytes = b""
    repeats: bytes = b""

    @classmethod
    def of(cls, row: IndexRow, values: bytes = b"", scale: float = 0.0) -> Kept:
        """Return what is kept of a row; an index that has vectors of its own keeps no values here."""
        return cls(values, scale, row.question, row.writer, row.analysis, row.pieces, row.repeats)

    def as_neighbour(self, key: bytes, cosine: float, stored_at: float) -> Neighbour:
        """Return the row as what a search found."""
        return Neighbour(key, cosine, self.question, self.writer, stored_at, self.analysis, self.pieces, self.repeats)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Kept).decode


def quantised(vector: Vector) -> tuple[Bytes8, float]:
    """Return int8 values and their scale; the cosine of two unit vectors changes by 0.0003 or so."""
    import numpy as np

    scale = max(float(np.abs(vector).max()), 1e-12) / 127
    return np.rint(vector / np.float32(scale)).astype(np.int8), scale


def vector_of(kept: Kept) -> Vector:
    """Return the vector of a row that keeps its values, as near as they tell it."""
    import numpy as np

    return np.frombuffer(kept.values, np.int8).astype(np.float32) * np.float32(kept.scale)


def pack(tenant: Tenant, row: IndexRow) -> bytes:
    """Return what is stored of a row."""
    values, scale = quantised(row.vector)
    kept = Kept.of(row, values.tobytes(), scale)
    return pack_kept(tenant, kept, row.key, row.partition, row.embedder_id, row.normal_digest)


def pack_kept(
    tenant: Tenant, kept: Kept, key: bytes, partition: bytes, embedder_id: str, normal_digest: bytes
) -> bytes:
    """Return the bytes that are stored, sealed where the tenant has a data key."""
    packed = _encode(kept)
    if tenant.data_key is None:
        return _CLEAR + packed
    return seal(tenant.data_key, packed, _place(tenant, key, partition, embedder_id, normal_digest))


def unpack(tenant: Tenant, stored: bytes, key: bytes, partition: bytes, embedder_id: str, normal_digest: bytes) -> Kept:
    """Return what `pack` kept; raises `Unreadable`. A row in clear is none for a tenant whose rows are sealed."""
    try:
        if tenant.data_key is not None:
            return _decode(
                open_sealed(tenant.data_key, stored, _place(tenant, key, partition, embedder_id, normal_digest))
            )
        if stored[:1] != _CLEAR:
            raise Unreadable
        return _decode(stored[1:])
    except (DecryptionFailed, msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise Unreadable from wrong


def _place(tenant: Tenant, key: bytes, partition: bytes, embedder_id: str, normal_digest: bytes) -> bytes:
    return associated_data("semantic row", "1", tenant.id, key, partition, embedder_id, normal_digest)
