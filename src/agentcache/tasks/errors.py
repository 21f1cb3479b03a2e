"""What can be wrong with tasks, which callers know as jobs."""

from __future__ import annotations

from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound


class TaskNotFound(NotFound):
    """The team has no such job."""

    code = "job_not_found"


class TaskEnded(BadRequest):
    """This job has ended already."""

    code = "job_ended"
    status = 409


class TaskCancelled(AgentCacheError):
    """Somebody cancelled the job. Raised out of a step, for the function to end with."""

    code = "job_cancelled"


class TaskTakenOver(AgentCacheError):
    """Another worker goes on with this job; what this one wanted to write is not written."""

    code = "job_taken_over"
