"""Every read of teams, members and API keys beyond a plain get."""

from __future__ import annotations

from agentcache.teams.queries.api_keys import (
    FoundApiKey,
    KeyState,
    find_api_key,
    find_live_api_key,
    former_values,
    get_api_key,
    key_state,
    list_api_keys,
    refusal_of,
    rotating_keys,
)
from agentcache.teams.queries.invitations import (
    FoundInvitation,
    InvitationState,
    count_seats,
    find_invitation,
    has_account,
    hash_token,
    list_invitations,
    state_of,
)
from agentcache.teams.queries.members import (
    MemberRow,
    count_owners,
    find_member,
    find_membership,
    keys_made_by,
    last_used_membership,
    list_members,
    live_api_keys,
    memberships_of,
)
from agentcache.teams.queries.teams import LOCAL_SLUG, Ending, find_local_team, find_logo, what_ends_with

__all__ = [
    "LOCAL_SLUG",
    "Ending",
    "FoundApiKey",
    "FoundInvitation",
    "InvitationState",
    "KeyState",
    "MemberRow",
    "count_owners",
    "count_seats",
    "find_api_key",
    "find_invitation",
    "find_live_api_key",
    "find_local_team",
    "find_logo",
    "find_member",
    "find_membership",
    "former_values",
    "get_api_key",
    "has_account",
    "hash_token",
    "key_state",
    "keys_made_by",
    "last_used_membership",
    "list_api_keys",
    "list_invitations",
    "list_members",
    "live_api_keys",
    "memberships_of",
    "refusal_of",
    "rotating_keys",
    "state_of",
    "what_ends_with",
]
