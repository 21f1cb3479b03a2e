"""What can be wrong with teams and keys."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, Forbidden, NotFound


class ApiKeyNotFound(NotFound):
    """The team has no such API key."""

    code = "api_key_not_found"


class InvalidName(BadRequest):
    """A name needs 1 to 64 printable characters."""

    code = "invalid_name"


class InvalidExpiry(BadRequest):
    """An expiry has to lie in the future, at most ten years away."""

    code = "invalid_expiry"


class InvalidScope(BadRequest):
    """A key needs scopes that exist."""

    code = "invalid_scope"


class InvalidNetwork(BadRequest):
    """Networks are written as addresses or with a prefix length."""

    code = "invalid_network"


class InvalidOverlap(BadRequest):
    """An overlap is between 0 and 720 hours."""

    code = "invalid_overlap"


class ScopeAboveOwn(Forbidden):
    """You cannot give more than you may do yourself."""

    code = "scope_above_own"


class ForeignApiKey(Forbidden):
    """This is another member's own key: its member or an admin has to do that."""

    code = "foreign_api_key"


class TeamNotFound(NotFound):
    """You are in no such team."""

    code = "team_not_found"


class NoTeam(NotFound):
    """You are in no team; make one or accept an invitation."""

    code = "no_team"


class MissingPermission(Forbidden):
    """Your role in this team does not allow that."""

    code = "missing_permission"

    @classmethod
    def of(cls, permission: str) -> MissingPermission:
        """Name what is missing."""
        return cls(f"This needs the permission {permission}; ask an admin of the team.")


class PeopleOnly(Forbidden):
    """An API key may not do that; a member has to."""

    code = "people_only"


class MemberNotFound(NotFound):
    """The team has no such member."""

    code = "member_not_found"


class InvitationNotFound(NotFound):
    """There is no such invitation."""

    code = "invitation_not_found"


class Conflict(AgentCacheError):
    """This does not fit what is there."""

    code = "conflict"
    status = 409


class ApiKeyEnded(Conflict):
    """This key is revoked or has expired: create another one."""

    code = "api_key_ended"


class LastOwner(Conflict):
    """A team needs an owner: make somebody else an owner first."""

    code = "last_owner"


class OwnersAreAdmins(Conflict):
    """An owner's role is admin: take the owner mark away first."""

    code = "owners_are_admins"


class AlreadyMember(Conflict):
    """This address belongs to a member of the team."""

    code = "already_member"


class NameMismatch(BadRequest):
    """Type the team's name exactly as it is written."""

    code = "name_mismatch"


class InvalidRole(BadRequest):
    """A role is one of admin, member, viewer."""

    code = "invalid_role"


class InvalidLogo(BadRequest):
    """A logo is a PNG, JPEG or WebP picture of at most 256 KB."""

    code = "invalid_logo"


class RoleAboveOwn(Forbidden):
    """Nobody can give a role above their own."""

    code = "role_above_own"


class InvitationUnusable(Forbidden):
    """This invitation cannot be used."""

    code = "invitation_unusable"


class InvitationClosed(InvitationUnusable):
    """This invitation was accepted or cancelled."""

    code = "invitation_closed"
    status = 409


class InvitationExpired(InvitationUnusable):
    """This invitation is older than 7 days; ask for a new one."""

    code = "invitation_expired"


class InvitationReplaced(InvitationUnusable):
    """A newer mail was sent for this invitation; use the link in that one."""

    code = "invitation_replaced"


class InvitationInvalid(InvitationUnusable):
    """Whoever sent this invitation may not invite to this role any more; ask for a new one."""

    code = "invitation_invalid"


class NoSeatLeft(InvitationUnusable):
    """Every seat of the team's plan is taken, by members and, for new invitations, by open invitations."""

    code = "no_seat_left"
    status = 409


class InvitationForAnother(InvitationUnusable):
    """This invitation is for another e-mail address than the one you are signed in with."""

    code = "invitation_for_another"


class LogoNotFound(NotFound):
    """The team has no logo."""

    code = "logo_not_found"
