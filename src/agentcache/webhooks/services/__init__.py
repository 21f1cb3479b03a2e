"""Every write of webhooks."""

from __future__ import annotations

from agentcache.webhooks.errors import EndpointIsOff, InvalidRange, UnknownEventType
from agentcache.webhooks.services.delivering import TRIES, PreparedTry, TryOutcome, prepare_try, record_try
from agentcache.webhooks.services.emitting import DELIVER, emit
from agentcache.webhooks.services.endpoints import (
    ENDPOINTS_MAX,
    EndpointEdits,
    EndpointWithSecret,
    NewEndpoint,
    change_endpoint,
    create_endpoint,
    delete_endpoint,
    open_secrets,
    public_keys,
    rotate_secret,
)
from agentcache.webhooks.services.hits import tell_of_hits
from agentcache.webhooks.services.redelivering import (
    REDELIVER,
    Range,
    in_range,
    redeliver,
    redeliver_step,
    send_test,
    start_redelivery,
)
from agentcache.webhooks.services.tidying import end_lost, prune

#: What a page tells beside the button that was pressed.
NOT_SENT = (EndpointIsOff, InvalidRange, UnknownEventType)

__all__ = [
    "DELIVER",
    "ENDPOINTS_MAX",
    "NOT_SENT",
    "REDELIVER",
    "TRIES",
    "EndpointEdits",
    "EndpointWithSecret",
    "NewEndpoint",
    "PreparedTry",
    "Range",
    "TryOutcome",
    "change_endpoint",
    "create_endpoint",
    "delete_endpoint",
    "emit",
    "end_lost",
    "in_range",
    "open_secrets",
    "prepare_try",
    "prune",
    "public_keys",
    "record_try",
    "redeliver",
    "redeliver_step",
    "rotate_secret",
    "send_test",
    "start_redelivery",
    "tell_of_hits",
]
