"""Credentials of providers that teams keep here."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team

#: What releases write that do not know a list yet.
_NONE = models.Value([], models.JSONField())


class ProbeOutcome(models.TextChoices):
    """What a provider said to a credential."""

    WORKS = "works", "Works"
    REFUSED = "refused", "Refused"
    UNREACHABLE = "unreachable", "Provider not reached"
    UNCLEAR = "unclear", "Unclear"


class ProviderCredential(models.Model):
    """A team's credential for one provider. It is sealed for the team and never shown again."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: Name of a dialect.
    provider = models.CharField(max_length=64)
    sealed = models.BinaryField()
    last_four = models.CharField(max_length=4)
    #: Address of who set it, or `API key …`.
    set_by = models.CharField(max_length=254, blank=True, default="")
    set_at = models.DateTimeField(db_default=Now())
    #: What the provider said last, and when; "" and null before the first test.
    probe_outcome = models.CharField(max_length=11, choices=ProbeOutcome, blank=True, default="")
    #: HTTP status of that; null when there was no answer.
    probe_status = models.PositiveSmallIntegerField(null=True, blank=True)
    probed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "provider"], name="prewarm_one_credential")]

    @property
    def place(self) -> bytes:
        """Return what the sealed value is bound to besides the team."""
        return f"prewarm.provider_credential:{self.pk}:{self.provider}".encode()

    def __str__(self) -> str:
        return f"{self.provider} of {self.team_id}"


class BatchState(models.TextChoices):
    """How far a batch is."""

    WAITING = "waiting", "Waiting"
    RUNNING = "running", "Running"
    DONE = "done", "Done"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Batch(models.Model):
    """Some requests whose answers are to be fetched ahead, and what came of it. Money is 1e-9 USD."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=100, blank=True, default="")
    #: The job that does it now, or did it last.
    task_id = models.CharField(max_length=32, blank=True, default="")
    state = models.CharField(max_length=9, choices=BatchState, default=BatchState.WAITING)
    #: Whether it only finds out what is fresh and what the rest would cost.
    is_dry_run = models.BooleanField(default=False)
    concurrency = models.PositiveSmallIntegerField(default=4)
    #: Requests a second; null for as fast as they are answered.
    rate_per_second = models.FloatField(null=True, blank=True)
    cost_cap_usd_nanos = models.BigIntegerField(null=True, blank=True)
    #: What an answer is taken to have at most when its request does not say; 0 for the model's own bound.
    output_tokens = models.PositiveIntegerField(default=0)
    total = models.PositiveIntegerField(default=0)
    #: How many of those are items of embeddings, of which one call to the provider asks many.
    items = models.PositiveIntegerField(default=0, db_default=0)
    warmed = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cost_usd_nanos = models.BigIntegerField(default=0)
    #: Counted against the cap besides the cost: the most that calls may have cost of which nobody could tell the end.
    unsure_usd_nanos = models.BigIntegerField(default=0)
    #: What a dry run found: what the rest would cost, about and at the very most; how many have no known price.
    likely_usd_nanos = models.BigIntegerField(default=0)
    most_usd_nanos = models.BigIntegerField(default=0)
    unpriced = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True, default="")
    started_by = models.CharField(max_length=254, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "batches"
        indexes = [models.Index(fields=["team", "-id"], name="prewarm_batches_of_team")]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state in (BatchState.DONE, BatchState.FAILED, BatchState.CANCELLED)

    def __str__(self) -> str:
        return self.title or self.id


class RequestState(models.TextChoices):
    """What became of one request of a batch."""

    WAITING = "waiting", "Waiting"
    SENDING = "sending", "Under way"
    WARMED = "warmed", "Warmed"
    SKIPPED = "skipped", "Fresh already"
    FAILED = "failed", "Failed"
    #: Not made, for it might have cost more than is left.
    LEFT = "left", "Left out"


class BatchRequest(models.Model):
    """One request of a batch. What it asks is sealed for the team, and deleted once it is not needed any more."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="requests")
    #: Of the batch, so that rows are found by their team alone.
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    position = models.PositiveIntegerField()
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200, blank=True, default="")
    sealed = models.BinaryField()
    state = models.CharField(max_length=7, choices=RequestState, default=RequestState.WAITING)
    #: Why it failed, was left out, or its answer was not stored: a stable word.
    reason = models.CharField(max_length=64, blank=True, default="")
    #: HTTP status of the provider's answer; null without one.
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    cache_key = models.CharField(max_length=64, blank=True, default="")
    #: What is set aside while it is under way, and what it cost; 1e-9 USD.
    reserved_usd_nanos = models.BigIntegerField(default=0)
    cost_usd_nanos = models.BigIntegerField(default=0)
    #: Of items of embeddings: which of the batch go together, from 1; 0 for a request that is made as it is.
    group = models.PositiveIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["batch", "position"], name="prewarm_one_at_a_place")]
        indexes = [models.Index(fields=["batch", "state", "position"], name="prewarm_of_batch")]

    @property
    def place(self) -> bytes:
        """Return what the sealed request is bound to besides the team."""
        return f"prewarm.batch_request:{self.batch_id}:{self.position}".encode()

    def __str__(self) -> str:
        return f"{self.batch_id}[{self.position}]"


class Schedule(models.Model):
    """A batch that is done again and again. What it asks is sealed for the team."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    title = models.CharField(max_length=100)
    #: Five fields, in the time of `timezone`.
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=64, default="UTC")
    is_paused = models.BooleanField(default=False)
    #: `top`, `expiring` or `invalidated`: chosen anew among the kept requests at each run; "" for the same ones each time.
    source = models.CharField(max_length=11, blank=True, default="")
    window_seconds = models.PositiveIntegerField(default=0)
    #: Of those only what was made from this URL, and what has one of these tags.
    source_url = models.CharField(max_length=2048, blank=True, default="", db_default="")
    tags = models.JSONField(default=list, db_default=_NONE)
    #: Empty where they are chosen anew.
    sealed = models.BinaryField()
    #: How many, or how many at most.
    total = models.PositiveIntegerField()
    concurrency = models.PositiveSmallIntegerField(default=4)
    rate_per_second = models.FloatField(null=True, blank=True)
    cost_cap_usd_nanos = models.BigIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(default=0)
    #: Null while it is paused.
    next_at = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(null=True, blank=True)
    #: Id of the batch that it started last; "" when that could not be started.
    last_batch_id = models.CharField(max_length=32, blank=True, default="")
    #: Why the last one could not be started.
    last_error = models.CharField(max_length=300, blank=True, default="")
    created_by = models.CharField(max_length=254, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["next_at"], name="prewarm_schedules_due")]

    @property
    def place(self) -> bytes:
        """Return what the sealed requests are bound to besides the team."""
        return f"prewarm.schedule:{self.pk}".encode()

    def __str__(self) -> str:
        return self.title


class Keeping(models.Model):
    """Whether a team wants requests kept, so that they can be asked again; no row means no."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="+")
    since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return str(self.team_id)


class KeptRequest(models.Model):
    """A request whose answer was stored, sealed for its team by the gateway."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    cache_key = models.CharField(max_length=64)
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200, blank=True, default="")
    sealed = models.BinaryField()
    stored_at = models.DateTimeField()
    #: When the lifetime of the answer ends.
    expires_at = models.DateTimeField()
    #: Of the entry, as selectors read it: `namespace/dialect/model/label`.
    path = models.CharField(max_length=600, blank=True, default="", db_default="")
    tags = models.JSONField(default=list, db_default=_NONE)
    sources = models.JSONField(default=list, db_default=_NONE)
    #: When the answer is to be asked for anew before anybody does; null for not.
    refresh_at = models.DateTimeField(null=True, blank=True)
    #: Since when the answer is known to be outdated; null where a policy has it refreshed ahead while it is in use.
    outdated_since = models.DateTimeField(null=True, blank=True)
    #: How often in a row that did not work.
    refresh_failures = models.PositiveSmallIntegerField(default=0, db_default=0)
    #: Of an item of embeddings: key of the whole request that it came with; "" for all else.
    asked_as = models.CharField(max_length=64, blank=True, default="", db_default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "cache_key"], name="prewarm_kept_once")]
        indexes = [
            models.Index(fields=["team", "expires_at"], name="prewarm_kept_expiring"),
            models.Index(fields=["stored_at"], name="prewarm_kept_old"),
            models.Index(fields=["refresh_at"], name="prewarm_kept_due", condition=models.Q(refresh_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return self.cache_key
