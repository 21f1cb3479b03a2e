"""What happened, one row per request; the roll-ups made from it; and what is known to be missing."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.analytics.histogram import BUCKET_COLUMNS
from agentcache.gateway.ports import NOT_TOLD
from agentcache.kit.ids import new_id


class UsageEvent(models.Model):
    """One request to the data plane, as `gateway.ports.UsageEvent` has it. Rows are added and pruned, never changed."""

    id = models.CharField(primary_key=True, max_length=64)
    #: Unix milliseconds.
    at_ms = models.BigIntegerField()
    #: No foreign keys: a team or key may be gone before the batch that names it arrives.
    team_id = models.CharField(max_length=32)
    api_key_id = models.CharField(max_length=32)
    dialect = models.CharField(max_length=64)
    endpoint = models.CharField(max_length=128)
    model = models.CharField(max_length=256)
    namespace = models.CharField(max_length=128)
    #: A value of `gateway.ports.Outcome`.
    outcome = models.CharField(max_length=16)
    status = models.SmallIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    #: 1e-9 USD.
    cost_usd_nanos = models.BigIntegerField()
    saved_usd_nanos = models.BigIntegerField()
    latency_us = models.BigIntegerField()
    upstream_us = models.BigIntegerField()
    agent = models.CharField(max_length=128)
    #: Why it was a hit or a miss, in the words of Cache-Status.
    reason = models.CharField(max_length=64, default="", db_default="")
    #: Cache key of the entry that was served or made, in hex.
    entry_key = models.CharField(max_length=64, default="", db_default="")
    #: Freshness of the entry that was served; "" when none was.
    freshness = models.CharField(max_length=16, default="", db_default="")
    #: Who made the API key; "" when unknown.
    user_id = models.CharField(max_length=32, default="", db_default="")
    #: How many requests the row stands for; more than one where refused ones are summed up, none for a refresh.
    requests = models.IntegerField(default=1, db_default=1)
    #: Id of the policy that decided how the answer is kept.
    policy = models.CharField(max_length=32, default="", db_default="")
    #: Thousandths, or `gateway.ports.NOT_TOLD` and `NOT_NAMED`.
    temperature_milli = models.IntegerField(default=NOT_TOLD, db_default=NOT_TOLD)
    #: Separated by commas.
    tags = models.CharField(max_length=1000, default="", db_default="")
    #: URLs, separated by blanks.
    sources = models.CharField(max_length=2000, default="", db_default="")

    class Meta:
        indexes = [
            models.Index(fields=["team_id", "at_ms"], name="analytics_event_team_at"),
            models.Index(fields=["at_ms"], name="analytics_event_at"),
        ]

    def __str__(self) -> str:
        return f"{self.outcome} {self.id}"


class _Sums(models.Model):
    """Sums over requests that ended alike, in one span of time."""

    #: Seconds that the span lasts: a value of `rollups.Grain`.
    grain = models.IntegerField()
    #: Unix seconds, a multiple of `grain`.
    start = models.BigIntegerField()
    outcome = models.CharField(max_length=16)
    requests = models.BigIntegerField()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    #: 1e-9 USD.
    cost_usd_nanos = models.BigIntegerField()
    saved_usd_nanos = models.BigIntegerField()
    latency_us = models.BigIntegerField()
    upstream_us = models.BigIntegerField()
    #: Requests whose `upstream_us` was measured.
    upstream_calls = models.BigIntegerField()

    class Meta:
        abstract = True


class UsageTotal(_Sums):
    """Sums by one dimension, such as the model; the dimension "" is everything."""

    pk = models.CompositePrimaryKey("team_id", "dimension", "grain", "start", "value", "outcome")
    team_id = models.CharField(max_length=32)
    dimension = models.CharField(max_length=16)
    value = models.CharField(max_length=256)

    class Meta(_Sums.Meta):
        abstract = False
        indexes = [
            # What all teams did, for operators. A few rows a day for each team, so it costs writers nothing.
            models.Index(
                fields=["start"], name="analytics_total_of_days", condition=models.Q(dimension="", grain=86_400)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.dimension}={self.value} {self.outcome} from {self.start} for {self.grain} s"


_OF_DAYS = models.Q(grain=86_400)


class UsageCell(_Sums):
    """Sums by all dimensions that pages filter by, at once."""

    pk = models.CompositePrimaryKey(
        "team_id", "grain", "start", "api_key", "member", "model", "namespace", "agent", "outcome"
    )
    team_id = models.CharField(max_length=32)
    api_key = models.CharField(max_length=32)
    member = models.CharField(max_length=32)
    model = models.CharField(max_length=256)
    namespace = models.CharField(max_length=128)
    agent = models.CharField(max_length=128)

    class Meta(_Sums.Meta):
        abstract = False
        indexes = [
            # Charts of many days under two filters. Only days, so that the many finer sums cost no more to add.
            models.Index(fields=["team_id", name, "start"], name=f"analytics_cell_{name}", condition=_OF_DAYS)
            for name in ("api_key", "member", "model", "agent")
        ]

    def __str__(self) -> str:
        return f"{self.api_key} {self.model} {self.outcome} from {self.start} for {self.grain} s"


class UsageLatency(models.Model):
    """How long answers took: a histogram by one dimension, for hits and for misses."""

    pk = models.CompositePrimaryKey("team_id", "dimension", "grain", "start", "value", "answer")
    team_id = models.CharField(max_length=32)
    dimension = models.CharField(max_length=16)
    grain = models.IntegerField()
    start = models.BigIntegerField()
    value = models.CharField(max_length=256)
    #: `hit` or `miss`.
    answer = models.CharField(max_length=8)

    def __str__(self) -> str:
        return f"{self.dimension}={self.value} {self.answer} from {self.start} for {self.grain} s"


for _column in BUCKET_COLUMNS:
    UsageLatency.add_to_class(_column, models.IntegerField(default=0, db_default=0))


class UsageGap(models.Model):
    """Usage events that a worker took and that never arrived, because it was killed."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    worker = models.CharField(max_length=64)
    lost = models.PositiveBigIntegerField()
    detected_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [models.Index(fields=["-detected_at"], name="analytics_gap_newest")]

    def __str__(self) -> str:
        return f"{self.lost} events of {self.worker}"
