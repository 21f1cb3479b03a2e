"""What lies under which name in Redis. All keys of a tenant carry one hash tag, so they share a cluster slot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec

from agentcache.engine.entries import EntryMeta, Mark
from agentcache.engine.sources import normal_source

#: Changes with the layout, so that releases with different layouts never read each other's keys.
PREFIX = "ac:1:"
#: Every tenant with entries; how a sweep finds them.
TENANTS_KEY = PREFIX + "tenants"
#: Length of a cache key.
KEY_BYTES = 32
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class TenantKeys:
    """The names of one tenant's keys."""

    tenant_id: str
    base: str = field(init=False)
    #: Hash: `mark`, `floor`, and one field per logged invalidation, named by its mark.
    log: str = field(init=False)
    #: String: the mark, and behind it those of the invalidations that still have rows to deal with, with blanks between.
    marks: str = field(init=False)
    #: Hash: cache key -> `CatalogRow`.
    catalog: str = field(init=False)
    #: Sorted sets of cache keys: by time stored, by time of death, by last use.
    by_age: str = field(init=False)
    by_death: str = field(init=False)
    by_use: str = field(init=False)
    #: Hash: cache key -> hits.
    hits: str = field(init=False)
    #: Sorted set, all scores 0, so in the order of the bytes: `CatalogRow.member`.
    by_path: str = field(init=False)
    #: Hash: what each scope comes to, see `redis_sums`.
    sums: str = field(init=False)
    #: String: the number of the sums, see `redis_sums`.
    summing: str = field(init=False)
    #: Hash: `body_bytes`, `memory_bytes`.
    totals: str = field(init=False)
    #: Set of namespaces that may hold something.
    namespaces: str = field(init=False)
    _entry: bytes = field(init=False)

    def __post_init__(self) -> None:
        # A brace would end the hash tag early, and an empty tag is none: such ids appear as their digest.
        plain = _PLAIN_ID.fullmatch(self.tenant_id)
        tag = self.tenant_id if plain else "=" + blake2b(self.tenant_id.encode(), digest_size=20).hexdigest()
        base = f"{PREFIX}{{{tag}}}:"
        for name in (
            "log", "marks", "catalog", "by_age", "by_death", "by_use", "hits", "by_path", "sums", "summing", "totals",
            "namespaces",
        ):  # fmt: skip
            object.__setattr__(self, name, base + name)
        object.__setattr__(self, "base", base)
        object.__setattr__(self, "_entry", f"{base}e:".encode())

    def entry(self, key: bytes) -> bytes:
        """Name the string that holds an entry: head and body in one frame."""
        return self._entry + key

    def lease(self, mark: Mark) -> str:
        """Name what is there while somebody deals with the rows of an invalidation."""
        return f"{self.base}w:{mark}"

    def label(self, label: str) -> str:
        """Name the set of cache keys under a label (see `CatalogRow.labels`)."""
        return f"{self.base}l:{label}"


class CatalogRow(msgspec.Struct, array_like=True, frozen=True):
    """What selecting needs to know of an entry without reading it."""

    namespace: str
    dialect: str
    model: str
    label: str
    stored_at: float
    dead_at: float
    tags: tuple[str, ...]
    sources: tuple[str, ...]
    body_bytes: int
    memory_bytes: int
    #: 1e-9 USD. Rows of earlier releases do not have what follows.
    cost_usd_nanos: int = 0
    #: Since when a soft invalidation has the answer outdated; 0 for an answer that stands.
    stale_at: float = 0.0
    #: The tenant's mark when the entry was written; 0 if an earlier release did.
    mark: int = 0
    #: The number of the sums that have this row in them, and the index of paths with them; 0 for none.
    summed: int = 0

    @property
    def path(self) -> str:
        """The readable path that patterns match."""
        return f"{self.namespace}/{self.dialect}/{self.model}/{self.label}"

    @property
    def scope(self) -> bytes:
        """Namespace, dialect and model in one, as a name."""
        return encode_scope((self.namespace, self.dialect, self.model))

    def member(self, key: bytes) -> bytes:
        """Name the entry in the index of paths, in which it is found by the beginning of its path."""
        return self.path.encode() + b"\0" + key

    @property
    def labels(self) -> set[str]:
        """The labels by which the entry is found: its tags, its sources, its namespace."""
        return {
            f"n:{self.namespace}",
            *(f"t:{tag}" for tag in self.tags),
            *(f"s:{normal_source(source)}" for source in self.sources),
            # Earlier releases filed a source under the caller's spelling; whoever removes the row takes it out there too.
            *(f"s:{source}" for source in self.sources),
        }


def describe(meta: EntryMeta, dead_at: float, body_bytes: int, frame_bytes: int) -> CatalogRow:
    """Return the catalog row of an entry."""
    labels = sum(len(label) + 120 for label in (*meta.tags, *meta.sources, meta.namespace))
    # Measured with MEMORY USAGE: about 850 bytes per entry beside frame and labels, and the path three times.
    memory_bytes = frame_bytes + 850 + 3 * len(meta.path) + labels
    return CatalogRow(
        meta.namespace, meta.dialect, meta.model, meta.label, meta.stored_at, dead_at, meta.tags, meta.sources,
        body_bytes, memory_bytes, meta.cost_usd_nanos,
    )  # fmt: skip


def path_and_key(member: bytes) -> tuple[str, bytes]:
    """Return the path and the cache key of a member of the index of paths."""
    return member[: -KEY_BYTES - 1].decode(), member[-KEY_BYTES:]


encode_scope = msgspec.msgpack.Encoder().encode
decode_scope = msgspec.msgpack.Decoder(tuple[str, str, str]).decode
encode_row = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(CatalogRow).decode


def decode_row(packed: bytes | None) -> CatalogRow | None:
    """Return a catalog row, or None when there is none that can be read."""
    if packed is None:
        return None
    try:
        return _decode_row(packed)
    except msgspec.DecodeError:
        return None
