"""What servers of vectors are told of a row: digests for its place, and a vector that only its tenant can make sense of.

Such a server has to compare vectors itself, so that it cannot be handed sealed ones. Where a tenant has a data key, the
vectors are turned by a rotation that only the key gives: all angles among them stay, and which way is which does not
show. It hides them from whoever has the server's files alone; somebody who also knows some hundreds of the questions
with their vectors could work the rotation out. In the embedded index vectors are sealed outright.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Vector
from agentcache.kit.crypto import associated_data, derive

if TYPE_CHECKING:
    import numpy as np

_ROUNDS: Final = 4


def scope_of(tenant: Tenant, partition: bytes, embedder_id: str, dimensions: int) -> bytes:
    """Return 16 bytes for the rows that one search may see."""
    return _digest("scope", tenant.id, partition, embedder_id, str(dimensions))


def normal_scope_of(tenant: Tenant, partition: bytes, normal_digest: bytes) -> bytes:
    """Return 16 bytes for the rows of one normal form."""
    return _digest("normal", tenant.id, partition, normal_digest)


def tenant_scope_of(tenant: Tenant) -> bytes:
    """Return 16 bytes for all rows of a tenant."""
    return _digest("tenant", tenant.id)


def shown_vector(tenant: Tenant, vector: Vector) -> Vector:
    """Return the vector that the server may see: turned where the tenant has a data key, else as it is."""
    if tenant.data_key is None:
        return vector
    turned = vector
    for signs, order in _rounds(derive(tenant.data_key, "turning of vectors"), len(vector)):
        turned = _mixed(turned[order] * signs)
    return turned


def _digest(*parts: str | bytes) -> bytes:
    return hashlib.blake2b(associated_data(*parts), digest_size=16).digest()


@lru_cache(maxsize=256)
def _rounds(secret: bytes, dimensions: int) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    import numpy as np

    rounds = []
    for number in range(_ROUNDS):
        stream = hashlib.shake_256(secret + bytes([number])).digest(9 * dimensions)
        order = np.argsort(np.frombuffer(stream[: 8 * dimensions], "<u8"), kind="stable")
        signs = np.where(np.frombuffer(stream[8 * dimensions :], np.uint8) & 1, 1, -1).astype(np.float32)
        rounds.append((signs, order))
    return rounds


def _mixed(vector: Vector) -> Vector:
    """Return the vector after a Hadamard transform in blocks as large as its length allows; lengths and angles stay."""
    import numpy as np

    size = len(vector)
    block = size & -size
    mixed = vector.reshape(-1, block)
    step = 1
    while step < block:
        pairs = mixed.reshape(-1, block // (2 * step), 2, step)
        mixed = np.stack((pairs[:, :, 0] + pairs[:, :, 1], pairs[:, :, 0] - pairs[:, :, 1]), axis=2).reshape(-1, block)
        step *= 2
    turned: Vector = (mixed.reshape(size) / np.sqrt(np.float32(block))).astype(np.float32)
    return turned
