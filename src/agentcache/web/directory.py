"""The directory of a server, with what several apps know of a team."""

from __future__ import annotations

from agentcache.jobs.database import DatabaseThreads
from agentcache.policies.policy_book import PolicyBook
from agentcache.prewarm.queries import keeps_requests
from agentcache.semantics.settings_book import semantics_of
from agentcache.settings import Settings
from agentcache.teams.directory import DjangoDirectory
from agentcache.teams.secrets import ServerSecrets


def open_directory(settings: Settings, threads: DatabaseThreads) -> DjangoDirectory:
    """Return what tells whose API key it is, and what its team wants: how answers are kept, requests, look-ups by meaning."""
    return DjangoDirectory(settings, ServerSecrets.of(settings), threads, PolicyBook().of, keeps_requests, semantics_of)
