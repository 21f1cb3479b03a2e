"""Makes teams with one API key each in a migrated data directory; the settings come from the environment.

    python -m tests.support.team_keys_program acme globex

Prints one JSON object: `{"acme": {"key": "ac_live_…", "team_id": "…"}, …}`.
"""

from __future__ import annotations

import json
import sys

from agentcache.settings import Settings
from agentcache.web.project import configure


def _make_keys(settings: Settings, teams: list[str]) -> dict[str, dict[str, str]]:
    from agentcache.teams.models import Team
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import create_api_key, create_team

    secrets = ServerSecrets.of(settings)
    made = {}
    for slug in teams:
        team = Team.objects.filter(slug=slug).first() or create_team(secrets, slug, slug=slug)
        made[slug] = {"key": create_api_key(secrets, team, "Test").api_key, "team_id": team.id}
    return made


if __name__ == "__main__":
    given = Settings.load()
    configure(given)
    sys.stdout.write(json.dumps(_make_keys(given, sys.argv[1:])))
