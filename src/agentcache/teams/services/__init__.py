"""Every write to teams, their members and their API keys."""

from __future__ import annotations

from agentcache.teams.services.api_keys import (
    DEFAULT_SCOPES,
    OPERATOR,
    OVERLAP,
    USE_NOTED_EVERY,
    CreatedApiKey,
    KeyChanges,
    change_api_key,
    create_api_key,
    reset_api_key,
    revoke_api_key,
    rotate_api_key,
    touch_api_key,
)
from agentcache.teams.services.invitations import (
    accept_invitation,
    cancel_invitation,
    invite,
    join_by_invitation,
    require_seat_for,
    resend_invitation,
)
from agentcache.teams.services.key_rules import KeyManager, read_scopes
from agentcache.teams.services.leaked_keys import revoke_leaked_key
from agentcache.teams.services.logos import remove_logo, set_logo
from agentcache.teams.services.members import (
    change_member,
    change_role,
    leave_team,
    remove_member,
    set_billing,
    set_owner,
    touch_membership,
    transfer_ownership,
)
from agentcache.teams.services.teams import (
    FirstStart,
    create_personal_team,
    create_team,
    create_team_of,
    delete_team,
    ensure_local_team,
    leave_every_team,
    replace_webhook_key,
    update_team,
)

__all__ = [
    "DEFAULT_SCOPES",
    "OPERATOR",
    "OVERLAP",
    "USE_NOTED_EVERY",
    "CreatedApiKey",
    "FirstStart",
    "KeyChanges",
    "KeyManager",
    "accept_invitation",
    "cancel_invitation",
    "change_api_key",
    "change_member",
    "change_role",
    "create_api_key",
    "create_personal_team",
    "create_team",
    "create_team_of",
    "delete_team",
    "ensure_local_team",
    "invite",
    "join_by_invitation",
    "leave_every_team",
    "leave_team",
    "read_scopes",
    "remove_logo",
    "remove_member",
    "replace_webhook_key",
    "require_seat_for",
    "resend_invitation",
    "reset_api_key",
    "revoke_api_key",
    "revoke_leaked_key",
    "rotate_api_key",
    "set_billing",
    "set_logo",
    "set_owner",
    "touch_api_key",
    "touch_membership",
    "transfer_ownership",
    "update_team",
]
