"""What can be wrong with policies."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound


class InvalidPolicy(BadRequest):
    """A policy is not understood; `param` names the member at fault."""

    code = "invalid_policy"


class TooManyPolicies(BadRequest):
    """A team may have up to 50 policies."""

    code = "too_many_policies"


class PolicyNotFound(NotFound):
    """The team has no such policy."""

    code = "policy_not_found"


class PolicyVersionNotFound(NotFound):
    """The team's policies have no such version."""

    code = "policy_version_not_found"


class PoliciesChanged(AgentCacheError):
    """Somebody changed the policies meanwhile: look at them as they are now, and try again."""

    code = "policies_changed"
    status = 409
