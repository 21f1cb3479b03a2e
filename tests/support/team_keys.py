"""Makes teams with one API key each in the migrated records of a running server, from the test's own process."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from agentcache.settings import Settings
from tests.support.django_project import use_settings


def make_team_keys(settings: Settings, teams: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return `{"acme": {"key": "ac_live_…", "team_id": "…"}, …}`."""
    # In a thread of its own: Django refuses to work where an event loop runs, as in tests that are coroutines.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(_make, settings, teams).result()


def _make(settings: Settings, teams: Iterable[str]) -> dict[str, dict[str, str]]:
    # Django is set up by the import above, and models must not be read before.
    from agentcache.teams.models import Team
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import create_api_key, create_team

    with use_settings(settings):
        secrets = ServerSecrets.of(settings)
        made = {}
        for slug in teams:
            team = Team.objects.filter(slug=slug).first() or create_team(secrets, slug, slug=slug)
            made[slug] = {"key": create_api_key(secrets, team, "Test").api_key, "team_id": str(team.id)}
    return made
