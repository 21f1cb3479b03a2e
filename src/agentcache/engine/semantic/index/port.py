"""The port of the index: the questions that were answered, by partition, each with its vector and its entry's cache key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Vector
from agentcache.kit.errors import AgentCacheError

#: How many neighbours a search returns, and the cosine below which nothing counts as one. More than are judged: how many of
#: them have one answer tells how far it reaches.
NEIGHBOURS: Final = 8
COSINE_MIN: Final = 0.60
#: So many of the nearest go into quarantine with a row whose answer they are known to have.
ALIKE_MAX: Final = 256
#: The reason of what went into quarantine with another entry begins so; that one's key follows, in hex.
_WENT_WITH: Final = "with:"


class IndexUnavailable(AgentCacheError):
    """The index of questions cannot be used now."""

    code = "semantic_index_unavailable"
    status = 503


@dataclass(frozen=True, slots=True)
class IndexRow:
    """One question that has an answer. Times are Unix seconds; digests and keys are 32 bytes."""

    #: The cache key of the entry that answers it; a key has one row.
    key: bytes
    #: Digest of all that must be equal for two questions to be compared.
    partition: bytes
    embedder_id: str
    #: float32, of length 1.
    vector: Vector
    #: Digest of the question's normalised form; keyed with the tenant's secret, or it could be guessed from a list.
    normal_digest: bytes
    question: str
    #: Id of the API key that wrote the entry.
    writer: str
    stored_at: float
    expires_at: float
    #: As `analyses.pack_analysis` gives it; empty where it is to be made at each look-up.
    analysis: bytes = b""
    #: The question's word pieces (`engine/semantic/pieces.py`); empty where the embedder gives none.
    pieces: bytes = b""
    #: Cache key of the entry whose answer this one was found to repeat, or that one's own; empty for none but itself.
    repeats: bytes = b""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A question near the one that was asked."""

    key: bytes
    #: -1 to 1; 1 is the same direction.
    cosine: float
    question: str
    writer: str
    stored_at: float
    #: As of its row.
    analysis: bytes = b""
    #: Empty for a row without any: one that an earlier release or another embedder made.
    pieces: bytes = b""
    #: As the row has it.
    repeats: bytes = b""

    @property
    def answer(self) -> bytes:
        """The same for all neighbours that are known to have one answer."""
        return self.repeats or self.key


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry that answers no question but its own."""

    key: bytes
    #: Unix seconds; None until it is released.
    until: float | None
    reason: str
    quarantined_at: float


def went_with(key: bytes) -> str:
    """Return the reason of what is in quarantine because it is known to have the answer of the entry with this key."""
    return _WENT_WITH + key.hex()


def reason_to_follow(other: bytes, reason: str) -> str:
    """Return the reason with which a row follows the entry that it repeats, which is in quarantine for `reason`."""
    return reason if reason.startswith(_WENT_WITH) else went_with(other)


class NeighbourIndex(Protocol):
    """Keeps rows and finds neighbours. Every adapter passes `tests/contract/neighbour_index.py`.

    Only rows of the tenant, the partition and the embedder are searched; the filter comes before the search, so that
    others' rows neither show nor take places. What was removed, quarantined or has expired is not found by any process
    once the call has returned. Whether the entry still exists is the entry store's to say. With a data key, question,
    writer, pieces and vector are kept so that only the tenant can read them. Errors are `IndexUnavailable` and nothing else.
    """

    async def nearest(
        self,
        tenant: Tenant,
        partition: bytes,
        embedder_id: str,
        vector: Vector,
        *,
        limit: int = NEIGHBOURS,
        cosine_min: float = COSINE_MIN,
    ) -> list[Neighbour]:
        """Return up to `limit` neighbours with at least `cosine_min`, nearest first."""

    async def find_normalised(self, tenant: Tenant, partition: bytes, normal_digest: bytes) -> bytes | None:
        """Return the key of the newest row of the partition whose question has this normalised form."""

    async def add(self, tenant: Tenant, row: IndexRow) -> None:
        """Keep a row; replaces the row of the same key. A quarantine of the key stays.

        A row that repeats an entry in quarantine follows it there, and repeats nobody: it was found to do so before.
        """

    async def remove(self, tenant: Tenant, keys: Sequence[bytes]) -> None:
        """Remove the rows of these keys; those that have none do not matter."""

    async def repeat(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Note that the row of a key has the answer of another row of its partition, as `IndexRow.repeats` says it.

        Nothing happens where one of them is not to be found: gone, expired or in quarantine.
        """

    async def quarantine(self, tenant: Tenant, key: bytes, *, until: float | None, reason: str) -> None:
        """Let a key's row be found no more, also one that is added later; replaces an earlier quarantine of the key.

        The `ALIKE_MAX` nearest that are known to have its answer go with it, unless they are in quarantine already; `went_with`
        is their reason. None of these rows repeats anybody any more.
        """

    async def release(self, tenant: Tenant, key: bytes) -> None:
        """End a quarantine, and that of whatever went with the key. Whose answer rows had is not known again by that."""

    async def quarantined(self, tenant: Tenant) -> list[Quarantined]:
        """Return the quarantines in force, newest first."""

    async def forget_tenant(self, tenant: Tenant) -> None:
        """Remove everything of a tenant."""

    async def count(self, tenant: Tenant) -> int:
        """Return how many rows a tenant has that have not expired."""

    async def aclose(self) -> None:
        """Finish what is pending and release everything."""
