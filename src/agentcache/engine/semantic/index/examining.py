"""Whether the server that is to keep questions and vectors can do so: for `agentcache doctor`, and when a server starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Examined:
    """What stands behind an index URL. `problem` says why it cannot keep questions, "" where it can; `mend` what to do."""

    found: str
    problem: str = ""
    mend: str = ""


def examine(url: str) -> Examined:
    """Ask the server behind the URL about itself; changes nothing there. Blocks; raises `AgentCacheError` without an answer."""
    return _pgvector(url) if url.startswith("postgres") else _redis(url)


def _redis(url: str) -> Examined:
    from agentcache.engine.stores.redis_report import report

    found = report(url)
    what = f"{found.product} {found.version}"
    if found.is_cluster:
        return Examined(
            what,
            f"{what} is part of a cluster, whose nodes search their own rows only",
            "Use one Redis with the query engine, or PostgreSQL with pgvector, or unset the URL.",
        )
    if not found.has_query_engine:
        return Examined(what, f"{what} has no query engine", "Use Redis 8 or Redis Stack, or unset the URL.")
    return Examined(f"{what} with the query engine")


def _pgvector(url: str) -> Examined:
    from agentcache.engine.semantic.index.pgvector import pgvector_version

    version, is_set_up = pgvector_version(url)
    if not version:
        return Examined("", "this PostgreSQL has no pgvector", "Install the extension pgvector there.")
    return Examined(f"pgvector {version}" + ("" if is_set_up else ", to be set up at first use"))
