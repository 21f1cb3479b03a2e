"""What kind of Redis it is that keeps the entries, for `agentcache doctor`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import redis

from agentcache.engine.stores.port import StoreUnavailable

#: Expiry of single hash members and the options we use are older, but nothing older is still maintained.
OLDEST_VERSION = (6, 2)


@dataclass(frozen=True, slots=True)
class RedisReport:
    """Product and version, `maxmemory` in bytes (0 is no bound) with its policy, and one round trip in milliseconds."""

    product: str
    version: str
    maxmemory_bytes: int
    maxmemory_policy: str
    round_trip_ms: float
    #: Whether it can search among vectors (Redis 8, Redis Stack).
    has_query_engine: bool = False
    #: Whether it is a node of a Redis Cluster.
    is_cluster: bool = False

    @property
    def is_old(self) -> bool:
        """Say whether this release is older than what we test with."""
        return tuple(int(part) for part in self.version.split(".")[:2]) < OLDEST_VERSION


def report(url: str, within_seconds: float = 3.0) -> RedisReport:
    """Ask a Redis, or one node of a cluster, about itself. Raises `StoreUnavailable` with the reason."""
    parts = urlsplit(url)
    plain = urlunsplit(parts._replace(scheme=parts.scheme.removesuffix("+cluster")))
    try:
        with redis.Redis.from_url(
            plain, socket_timeout=within_seconds, socket_connect_timeout=within_seconds, protocol=2
        ) as client:
            started = time.perf_counter()
            client.ping()
            round_trip_ms = (time.perf_counter() - started) * 1000
            about = client.info()
            has_query_engine = _answers(client, "FT._LIST")
    except (redis.RedisError, OSError, ValueError) as error:
        raise StoreUnavailable(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    is_valkey = "valkey_version" in about
    return RedisReport(
        product="Valkey" if is_valkey else "Redis",
        version=str(about["valkey_version"] if is_valkey else about["redis_version"]),
        maxmemory_bytes=int(about.get("maxmemory", 0)),
        maxmemory_policy=str(about.get("maxmemory_policy", "unknown")),
        round_trip_ms=round_trip_ms,
        has_query_engine=has_query_engine,
        is_cluster=str(about.get("redis_mode", about.get("server_mode", ""))) == "cluster",
    )


def _answers(client: redis.Redis, command: str) -> bool:
    try:
        client.execute_command(command)  # type: ignore[no-untyped-call]  # the client's types end here
    except redis.ResponseError:
        return False
    return True
