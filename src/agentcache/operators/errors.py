"""What operators cannot do."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, Forbidden, NotFound


class SetupLinkInvalid(NotFound):
    """This link has been used, has expired, or never existed. Print another one with `agentcache operators invite`."""

    code = "setup_link_invalid"


class ReasonMissing(BadRequest):
    """Say why, in at least eight characters: the reason is kept in the audit log."""

    code = "reason_missing"


class NotToBeViewedAs(Forbidden):
    """Operators, disabled accounts and you yourself cannot be viewed as."""

    code = "not_to_be_viewed_as"


class NotWhileViewing(Forbidden):
    """This is not possible while you view the product as somebody else: passwords, factors, addresses, keys and money are theirs alone."""

    code = "not_while_viewing"


class LastOperator(BadRequest):
    """The last operator stays, and nobody changes their own rights."""

    code = "last_operator"
