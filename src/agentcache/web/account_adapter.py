"""What a new user gets from the apps above accounts."""

from __future__ import annotations

from typing import Any

from agentcache.accounts.adapters import AccountAdapterBase
from agentcache.accounts.models import User
from agentcache.teams import queries as team_queries
from agentcache.teams import services as teams


class AccountAdapter(AccountAdapterBase):
    """allauth's adapter (setting ACCOUNT_ADAPTER)."""

    def welcome(self, user: User) -> None:
        """Give the user a team of their own."""
        teams.create_personal_team(user)

    def farewell(self, user: User) -> None:
        """Take the user out of all teams; refused where others would be left without an owner."""
        teams.leave_every_team(user)

    def export(self, user: User) -> dict[str, Any]:
        """Return the user's teams, and the keys made for them."""
        return {
            "teams": [
                {
                    "id": row.team_id,
                    "name": row.team.name,
                    "role": row.role,
                    "is_owner": row.is_owner,
                    "since": row.created_at.isoformat(),
                    "api_keys_made": [
                        {"name": key.name, "masked": key.display, "created_at": key.created_at.isoformat()}
                        for key in team_queries.keys_made_by(row)
                    ],
                }
                for row in team_queries.memberships_of(user)
            ]
        }
