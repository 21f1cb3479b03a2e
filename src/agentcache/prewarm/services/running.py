"""What the job that does a batch reads and writes, each call one transaction.

A request is noted as under way, with the most it may cost set aside, before it is made, and its outcome after. A worker that is
killed in between leaves those under way: they are made again, and what was set aside for them counts against the cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.db.models import Sum

from agentcache.gateway.inside import InsideRequest
from agentcache.gateway.ports import Principal
from agentcache.kit.money import usd
from agentcache.prewarm.items import ITEMS_PER_CALL, fitting, planned
from agentcache.prewarm.models import Batch, BatchRequest, BatchState, RequestState
from agentcache.prewarm.services.ahead import working_team
from agentcache.prewarm.services.batches import open_request
from agentcache.tasks.models import Task, TaskState
from agentcache.teams.secrets import ServerSecrets
from agentcache.webhooks.services import emit

#: However many are made at once: noting their outcomes is one transaction.
_TAKEN_MAX = 512
_ENDED = (RequestState.WARMED, RequestState.SKIPPED, RequestState.FAILED, RequestState.LEFT)


@dataclass(frozen=True, slots=True)
class BegunBatch:
    """A batch as a worker takes it up."""

    id: str
    principal: Principal
    #: Provider -> credential. Never logged.
    credentials: Mapping[str, str]
    is_dry_run: bool
    concurrency: int
    rate_per_second: float | None
    has_cap: bool
    output_tokens: int

    def __repr__(self) -> str:
        return f"BegunBatch({self.id})"


@dataclass(frozen=True, slots=True)
class TakenRequest:
    """A request that waits to be made."""

    row_id: int
    request: InsideRequest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request; money is 1e-9 USD."""

    row_id: int
    state: RequestState
    reason: str = ""
    status: int | None = None
    cache_key: str = ""
    cost_usd_nanos: int = 0
    #: Counted against the cap although nobody knows whether it was billed.
    unsure_usd_nanos: int = 0
    #: What a dry run found; None for a price that is not known.
    likely_usd_nanos: int | None = 0
    most_usd_nanos: int | None = 0


def begin_batch(secrets: ServerSecrets, batch_id: str, *, encrypt_entries: bool) -> BegunBatch | None:
    """Take a batch up, from whoever had it before; None when it is gone.

    What was under way waits again, and counts as spent: the provider may have billed it.
    """
    with transaction.atomic():
        batch = Batch.objects.select_for_update().select_related("team").filter(pk=batch_id).first()
        if batch is None:
            return None
        under_way = BatchRequest.objects.filter(batch=batch, state=RequestState.SENDING)
        batch.unsure_usd_nanos += under_way.aggregate(sum=Sum("reserved_usd_nanos"))["sum"] or 0
        under_way.update(state=RequestState.WAITING, reserved_usd_nanos=0)
        batch.state = BatchState.RUNNING
        batch.save()
    working = working_team(secrets, batch.team, encrypt_entries=encrypt_entries)
    return BegunBatch(
        batch.pk,
        working.principal,
        working.credentials,
        batch.is_dry_run,
        batch.concurrency,
        batch.rate_per_second,
        batch.cost_cap_usd_nanos is not None,
        batch.output_tokens,
    )


def take(secrets: ServerSecrets, begun: BegunBatch) -> list[list[TakenRequest]]:
    """Return the next requests that wait, in as many calls as are made at once: each of one, or of items that go together."""
    rows = BatchRequest.objects.filter(batch_id=begun.id, state=RequestState.WAITING)
    looked = min(begun.concurrency * ITEMS_PER_CALL, _TAKEN_MAX)
    calls = planned(list(rows.order_by("position").values_list("pk", "group")[:looked]), begun.concurrency)
    found = {
        row.pk: TakenRequest(row.pk, open_request(secrets, row.team, row))
        for row in rows.filter(pk__in=[row_id for call in calls for row_id in call]).select_related("team")
    }
    taken = [[found[row_id] for row_id in call] for call in calls]
    # What is too much for one call waits on.
    return [call[: fitting([one.request for one in call])] for call in taken]


def set_aside(batch_id: str, bounds: Mapping[int, int | None]) -> set[int]:
    """Note requests as under way, with the most that each may cost; return which there was money for.

    The others wait on: those before them may cost less than what is set aside. With nothing under way a request that there is
    no money for is left out.
    """
    with transaction.atomic():
        batch = Batch.objects.select_for_update().get(pk=batch_id)
        rows = BatchRequest.objects.filter(batch=batch)
        cap = batch.cost_cap_usd_nanos
        left = None if cap is None else cap - batch.cost_usd_nanos - batch.unsure_usd_nanos
        granted: set[int] = set()
        for row_id, bound in bounds.items():
            needed = bound or 0
            if left is not None and needed > left:
                if not granted:
                    rows.filter(pk=row_id).update(state=RequestState.LEFT, reason="cost_cap")
                continue
            left = None if left is None else left - needed
            granted.add(row_id)
            rows.filter(pk=row_id).update(state=RequestState.SENDING, reserved_usd_nanos=needed)
    return granted


def note_outcomes(batch_id: str, outcomes: Sequence[Outcome]) -> None:
    """Note what became of requests, and count it."""
    with transaction.atomic():
        batch = Batch.objects.select_for_update().get(pk=batch_id)
        for one in outcomes:
            # Only what is still open: an outcome that two workers tell counts once.
            noted = BatchRequest.objects.filter(pk=one.row_id, batch=batch).exclude(state__in=_ENDED)
            changed = noted.update(
                state=one.state,
                reason=one.reason[:64],
                status=one.status,
                cache_key=one.cache_key,
                cost_usd_nanos=one.cost_usd_nanos,
                reserved_usd_nanos=0,
            )
            if not changed:
                continue
            batch.warmed += one.state == RequestState.WARMED
            batch.skipped += one.state == RequestState.SKIPPED
            batch.failed += one.state == RequestState.FAILED
            batch.cost_usd_nanos += one.cost_usd_nanos
            batch.unsure_usd_nanos += one.unsure_usd_nanos
            batch.likely_usd_nanos += one.likely_usd_nanos or 0
            batch.most_usd_nanos += one.most_usd_nanos or 0
            batch.unpriced += one.likely_usd_nanos is None
        batch.save()


def count_ended(batch_id: str) -> tuple[int, int, Batch]:
    """Return how many requests of a batch have ended, how many of those failed, and the batch."""
    batch = Batch.objects.get(pk=batch_id)
    ended = BatchRequest.objects.filter(batch=batch, state__in=_ENDED).count()
    return ended, batch.failed, batch


def result_of(batch: Batch) -> dict[str, object]:
    """Return what came of a batch, for people and programs."""
    if batch.is_dry_run:
        cap = batch.cost_cap_usd_nanos
        return {
            "prewarm_id": batch.pk,
            "fresh": batch.skipped,
            "to_ask": batch.total - batch.skipped - batch.failed,
            "embeddings": batch.items,
            "likely_cost_usd": usd(batch.likely_usd_nanos),
            "most_cost_usd": usd(batch.most_usd_nanos),
            "cost_cap_usd": None if cap is None else usd(cap),
            "without_a_price": batch.unpriced,
        }
    return {
        "prewarm_id": batch.pk,
        "warmed": batch.warmed,
        "fresh": batch.skipped,
        "failed": batch.failed,
        "left_out": batch.total - batch.warmed - batch.skipped - batch.failed,
        "embeddings": batch.items,
        "cost_usd": usd(batch.cost_usd_nanos),
    }


def note_end(task: Task) -> None:
    """Note how a batch ended and tell webhooks, in the transaction that ends its task."""
    batch = Batch.objects.select_for_update().filter(pk=task.payload.get("batch_id", ""), task_id=task.pk).first()
    if batch is None:
        return
    ended_at: datetime | None = task.ended_at
    batch.state, batch.ended_at, batch.error = BatchState(task.state), ended_at, task.error
    batch.save()
    if batch.is_dry_run and task.state == TaskState.DONE:
        return  # what it asked is kept, to be run for real
    BatchRequest.objects.filter(batch=batch).exclude(sealed=b"").update(sealed=b"")
    if not batch.is_dry_run:
        _tell(batch, task)


def _tell(batch: Batch, task: Task) -> None:
    members = {
        "job_id": task.pk,
        "state": batch.state,
        "requested": batch.total,
        "warmed": batch.warmed,
        "skipped": batch.skipped,
        "failed": batch.total - batch.warmed - batch.skipped,
        "cost_usd": usd(batch.cost_usd_nanos),
    }
    emit(batch.team_id, "prewarm.finished", members)
