"""What can be wrong with provider credentials and prewarming."""

from __future__ import annotations

from agentcache.kit.errors import BadRequest, NotFound


class UnknownProvider(NotFound):
    """This server has no such provider."""

    code = "provider_not_found"


class CredentialNotFound(NotFound):
    """The team keeps no credential for this provider."""

    code = "credential_not_found"


class InvalidCredential(BadRequest):
    """A provider credential has 8 to 512 printable characters without blanks, and is no AgentCache key."""

    code = "invalid_credential"


class CredentialRefused(BadRequest):
    """The provider refuses this credential, so it was not kept."""

    code = "credential_refused"


class InvalidBatch(BadRequest):
    """The batch is malformed."""

    code = "invalid_batch"


class CredentialMissing(BadRequest):
    """The team keeps no credential for a provider of this batch."""

    code = "credential_missing"
    status = 409


class BatchNotFound(NotFound):
    """The team has no such prewarming."""

    code = "prewarm_not_found"


class BatchNotRepeatable(BadRequest):
    """What this prewarming asked is not kept any more, or it is under way."""

    code = "prewarm_not_repeatable"
    status = 409


class TooManyBatches(BadRequest):
    """A team may have up to 10 prewarmings waiting or under way."""

    code = "too_many_prewarmings"
    status = 429


class InvalidSchedule(BadRequest):
    """A schedule is `nightly`, `weekly` or five fields of cron, no more often than every 15 minutes, in a known time zone."""

    code = "invalid_schedule"


class ScheduleNotFound(NotFound):
    """The team has no such schedule."""

    code = "prewarm_schedule_not_found"


class TooManySchedules(BadRequest):
    """A team may have up to 20 schedules."""

    code = "too_many_prewarm_schedules"


class RequestsNotKept(BadRequest):
    """The team keeps no requests to choose from: switch that on first, and let some be asked."""

    code = "requests_not_kept"
    status = 409


class NothingToPrewarm(BadRequest):
    """No kept request fits."""

    code = "nothing_to_prewarm"
    status = 409
