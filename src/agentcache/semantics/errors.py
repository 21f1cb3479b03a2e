"""What can be wrong with semantic look-ups."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound


class InvalidSemantics(BadRequest):
    """These settings are not understood; `param` names the member at fault."""

    code = "invalid_semantics"


class TooManyNamespaces(BadRequest):
    """A team may have semantic settings for up to 200 namespaces."""

    code = "too_many_semantic_namespaces"


class SemanticsNotFound(NotFound):
    """The namespace has no semantic settings of its own."""

    code = "semantics_not_found"


class InvalidJudge(BadRequest):
    """This judge is not understood; `param` names the member at fault."""

    code = "invalid_semantic_judge"


class JudgePriceUnknown(BadRequest):
    """The price of this model is not known here, and a budget needs one: give it one in the own prices, or choose another."""

    code = "semantic_judge_price_unknown"


class JudgeNotFound(NotFound):
    """The namespace has no judge of its own."""

    code = "semantic_judge_not_found"


class JudgeChanged(AgentCacheError):
    """Somebody changed this judge meanwhile: look at it as it is now, and try again."""

    code = "semantic_judge_changed"
    status = 409


class SemanticsChanged(AgentCacheError):
    """Somebody changed these settings meanwhile: look at them as they are now, and try again."""

    code = "semantics_changed"
    status = 409


class NearQuestionNotFound(NotFound):
    """No semantic hit of this request is on record; a new one comes to the record within seconds."""

    code = "semantic_hit_not_found"


class NotInQuarantine(NotFound):
    """This entry is not in quarantine."""

    code = "not_in_quarantine"
