"""Every write of prewarming."""

from __future__ import annotations

from agentcache.prewarm.services.ahead import (
    DueRequest,
    WorkingTeam,
    claim_due,
    mark_outdated,
    note_failed,
    note_refreshed,
)
from agentcache.prewarm.services.asking import ask_again, would_ask
from agentcache.prewarm.services.batches import open_request, prune, run_again, start_batch
from agentcache.prewarm.services.credentials import (
    delete_credential,
    keep_credential,
    open_credential,
    test_credential,
)
from agentcache.prewarm.services.keeping import choose, prune_kept, set_keeping, take_files
from agentcache.prewarm.services.running import (
    BegunBatch,
    Outcome,
    TakenRequest,
    begin_batch,
    count_ended,
    note_end,
    note_outcomes,
    result_of,
    set_aside,
    take,
)
from agentcache.prewarm.services.schedules import (
    ScheduleEdits,
    change_schedule,
    create_schedule,
    delete_schedule,
    run_schedule_now,
    start_due,
)

__all__ = [
    "BegunBatch",
    "DueRequest",
    "Outcome",
    "ScheduleEdits",
    "TakenRequest",
    "WorkingTeam",
    "ask_again",
    "begin_batch",
    "change_schedule",
    "choose",
    "claim_due",
    "count_ended",
    "create_schedule",
    "delete_credential",
    "delete_schedule",
    "keep_credential",
    "mark_outdated",
    "note_end",
    "note_failed",
    "note_outcomes",
    "note_refreshed",
    "open_credential",
    "open_request",
    "prune",
    "prune_kept",
    "result_of",
    "run_again",
    "run_schedule_now",
    "set_aside",
    "set_keeping",
    "start_batch",
    "start_due",
    "take",
    "take_files",
    "test_credential",
    "would_ask",
]
