"""What a new user gets from the apps above accounts."""

from __future__ import annotations

from agentcache.accounts.adapters import AccountAdapterBase
from agentcache.accounts.models import User
from agentcache.teams import services as teams


class AccountAdapter(AccountAdapterBase):
    """allauth's adapter (setting ACCOUNT_ADAPTER)."""

    def welcome(self, user: User) -> None:
        """Give the user a team of their own."""
        teams.create_personal_team(user)
