"""How namespaces look up by meaning, what came of it, and which entries may answer no near questions."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team

#: Stands for every namespace that has no settings of its own.
EVERY_NAMESPACE = "*"


class Mode(models.TextChoices):
    """What becomes of a question that means the same as an earlier one."""

    OFF = "off", "Off"
    SHADOW = "shadow", "Shadow"
    SAFE = "safe", "Safe"
    BALANCED = "balanced", "Balanced"
    CUSTOM = "custom", "Custom"


class VerifierKind(models.TextChoices):
    """What judges whether two questions have one answer."""

    TREES = "trees", "Verifier"
    COSINE = "cosine", "Cosine alone"


class NamespaceSettings(models.Model):
    """How one namespace of a team looks up by meaning, or every one without settings of its own. The audit log keeps changes."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: `EVERY_NAMESPACE` for all that have none of their own.
    namespace = models.CharField(max_length=128)
    mode = models.CharField(max_length=8, choices=Mode, default=Mode.OFF)
    verifier = models.CharField(max_length=6, choices=VerifierKind, default=VerifierKind.TREES)
    #: Least score of a hit, 0 to 1; of the mode `custom` alone.
    threshold = models.FloatField(null=True, blank=True)
    #: Share of hits that may be wrong, 0 to 1.
    target = models.FloatField(default=0.02)
    #: Share of would-be hits that are asked all the same, to be judged; 0 to 1.
    shadow_share = models.FloatField(default=0.05)
    allows_temperature = models.BooleanField(default=False)
    allows_time_bound = models.BooleanField(default=False)
    #: One more for each change of what people set.
    revision = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(db_default=Now())
    #: Address of who changed it, or `API key …`.
    changed_by = models.CharField(max_length=254, blank=True, default="")

    class Meta:
        verbose_name = "settings of a namespace"
        verbose_name_plural = "settings of namespaces"
        constraints = [models.UniqueConstraint(fields=["team", "namespace"], name="semantics_namespace_once")]

    def __str__(self) -> str:
        return f"{self.namespace} of {self.team_id}"


class Judging(models.TextChoices):
    """How far the judge is with a near question whose answers nobody could compare."""

    NOT_ASKED = "", "Not asked"
    #: And undecided still where `agreed` is null: the answer was no verdict, or never came. It is not paid for twice.
    ASKED = "asked", "Asked"
    #: An answer is gone, or is longer than what is judged.
    UNFIT = "unfit", "Cannot be judged"


class EventKind(models.TextChoices):
    """What a near question came to; see `gateway.ports.SemanticEvent`."""

    HIT = "hit", "Served"
    SHADOW = "shadow", "Would have been served"
    JUDGED = "judged", "Compared, not near enough"
    REPORTED = "reported", "Reported"


class NearQuestion(models.Model):
    """One near question of a namespace. Both texts are sealed by the gateway, and forgotten before the row is."""

    #: Of the gateway's event: taken once, however often its file is.
    id = models.CharField(primary_key=True, max_length=32, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    namespace = models.CharField(max_length=128)
    at = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=EventKind)
    request_id = models.CharField(max_length=64, blank=True, default="")
    #: Hexadecimal key of the entry that was near.
    entry_key = models.CharField(max_length=64)
    #: Empty once it is forgotten.
    sealed = models.BinaryField(default=b"")
    #: Of a report: what was added to it, sealed like the questions.
    note = models.BinaryField(default=b"")
    #: Tells whether two questions are the same one, to who has the team's key.
    asked_digest = models.BinaryField(max_length=16, default=b"")
    cosine = models.FloatField(default=0.0)
    score = models.FloatField(default=0.0)
    threshold = models.FloatField(default=0.0)
    #: How likely it was to want another answer, and the highest risk that answered; null without a rule of risk.
    risk = models.FloatField(null=True, blank=True)
    risk_limit = models.FloatField(null=True, blank=True)
    #: Which share of the near questions was known to have the entry's answer, 0 to 1; null where that was not known.
    agreement = models.FloatField(null=True, blank=True)
    #: Version of the model that gave the score, or `cosine`.
    verifier = models.CharField(max_length=64, blank=True, default="")
    veto = models.CharField(max_length=64, blank=True, default="")
    #: Feature -> value, and (feature, value, effect), strongest first.
    features = models.JSONField(default=dict)
    reasons = models.JSONField(default=list)
    #: Whether one answer served both; null where nobody could tell, or nobody looked.
    agreed = models.BooleanField(null=True, blank=True)
    judged_by = models.CharField(max_length=16, blank=True, default="")
    #: With which probability such a case is judged: it stands for so many more.
    share = models.FloatField(default=1.0)
    saved_usd_nanos = models.BigIntegerField(default=0)
    #: Ids of the API keys that placed the entry, and that asked.
    writer = models.CharField(max_length=32, blank=True, default="")
    api_key_id = models.CharField(max_length=32, blank=True, default="")
    dialect = models.CharField(max_length=64, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    #: Hexadecimal key of the entry with the provider's own answer, where comparing both decided nothing.
    asked_key = models.CharField(max_length=64, blank=True, default="", db_default="")
    judging = models.CharField(max_length=5, choices=Judging, blank=True, default="", db_default="")

    class Meta:
        indexes = [
            models.Index(fields=["team", "-at"], name="semantics_near_newest"),
            models.Index(fields=["team", "request_id"], name="semantics_near_of_request"),
            models.Index(fields=["team", "entry_key", "at"], name="semantics_near_of_entry"),
            models.Index(fields=["team", "namespace", "-at"], name="semantics_near_evidence"),
            models.Index(fields=["at"], name="semantics_near_old"),
            models.Index(
                fields=["team", "namespace", "-at"],
                condition=models.Q(agreed__isnull=True, judging="") & ~models.Q(asked_key=""),
                name="semantics_near_undecided",
            ),
        ]

    @property
    def is_decided(self) -> bool:
        """Whether somebody or something said if one answer serves both questions."""
        return self.agreed is not None

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


class DayFigures(models.Model):
    """What near questions of a namespace came to on a day, UTC. Money is 1e-9 USD."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    namespace = models.CharField(max_length=128)
    day = models.DateField()
    #: Served by meaning.
    hits = models.PositiveIntegerField(default=0)
    #: Near enough to be served, and asked all the same.
    shadowed = models.PositiveIntegerField(default=0)
    #: Of those: compared, and found to have another answer.
    judged = models.PositiveIntegerField(default=0)
    wrong = models.PositiveIntegerField(default=0)
    #: Not near enough to be served, compared, and found to have the same answer.
    below = models.PositiveIntegerField(default=0)
    below_agreed = models.PositiveIntegerField(default=0)
    #: Hits that somebody said were wrong.
    reported = models.PositiveIntegerField(default=0)
    saved_usd_nanos = models.BigIntegerField(default=0)
    #: What the shadowed ones would have saved.
    missed_usd_nanos = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "namespace", "day"], name="semantics_day_once")]

    def __str__(self) -> str:
        return f"{self.namespace} of {self.team_id} on {self.day}"


class Evidence(models.Model):
    """What was decided of a namespace's near questions so far, and the threshold that follows from it."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: A namespace of requests; never `EVERY_NAMESPACE`.
    namespace = models.CharField(max_length=128)
    #: How many were decided, and how many were when the threshold was learned.
    decided = models.PositiveIntegerField(default=0)
    learned_from = models.PositiveIntegerField(default=0)
    #: Least score at which the target holds; above 1 where none does, null while there is not enough to tell.
    learned_threshold = models.FloatField(null=True, blank=True)
    #: What the evidence allows by the estimated risk, see `engine.semantic.risk_rule`; null where it proves nothing of the kind.
    learned_rule = models.JSONField(null=True, blank=True)
    learned_at = models.DateTimeField(null=True, blank=True)
    #: For which it was learned: it holds for no others.
    verifier = models.CharField(max_length=64, blank=True, default="")
    target = models.FloatField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "namespace"], name="semantics_evidence_once")]

    def fits(self, verifier: str, target: float) -> bool:
        """Whether threshold and rule were learned of scores like these, for this target."""
        return self.verifier == verifier and self.target == target

    def __str__(self) -> str:
        return f"{self.namespace} of {self.team_id}"


class Judge(models.Model):
    """A model at a provider that is asked where nobody could tell whether two answers say the same, with the team's credential.

    Of a namespace, or of every one without a judge of its own. Money is 1e-9 USD.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: `EVERY_NAMESPACE` for all that have none of their own.
    namespace = models.CharField(max_length=128)
    is_on = models.BooleanField(default=True)
    #: Name of a dialect: the team keeps one credential for each.
    provider = models.CharField(max_length=64)
    model = models.CharField(max_length=200)
    #: What it may cost on a day, UTC.
    daily_budget_usd_nanos = models.BigIntegerField()
    #: One more for each change of what people set.
    revision = models.PositiveIntegerField(default=1)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.CharField(max_length=254, blank=True, default="")
    #: Not asked before then; null for at once.
    held_until = models.DateTimeField(null=True, blank=True)
    #: Failures in a row.
    failures = models.PositiveSmallIntegerField(default=0)
    #: What went wrong last: a stable word, and the HTTP status where there was an answer.
    last_error = models.CharField(max_length=64, blank=True, default="")
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)
    last_error_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "namespace"], name="semantics_judge_once")]

    def __str__(self) -> str:
        return f"{self.model} for {self.namespace} of {self.team_id}"


class JudgeDay(models.Model):
    """What a judge did on a day, UTC; money is 1e-9 USD. Kept when the judge is removed, so that no budget begins anew."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: Of the judge.
    namespace = models.CharField(max_length=128)
    day = models.DateField()
    asked = models.PositiveIntegerField(default=0)
    #: Verdicts.
    same = models.PositiveIntegerField(default=0)
    different = models.PositiveIntegerField(default=0)
    #: Asked without an answer; the others were answered by something that is no verdict, or their worker was killed.
    failed = models.PositiveIntegerField(default=0)
    spent_usd_nanos = models.BigIntegerField(default=0)
    #: Set aside for what is under way, and the most that calls may have cost of which nobody knows the end.
    held_usd_nanos = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "namespace", "day"], name="semantics_judge_day_once")]

    @property
    def undecided(self) -> int:
        """Questions that it was asked and that are undecided still."""
        return self.asked - self.same - self.different - self.failed

    @property
    def used_usd_nanos(self) -> int:
        """What counts against the budget."""
        return self.spent_usd_nanos + self.held_usd_nanos

    def __str__(self) -> str:
        return f"{self.namespace} of {self.team_id} on {self.day}"


class QuarantineReason(models.TextChoices):
    """Why an entry answers no near questions."""

    REPORTED = "reported", "Reported as a bad hit"
    DIVERSE = "diverse", "Answers unusually diverse prompts"


class QuarantinedEntry(models.Model):
    """An entry that answers its own question only, until somebody releases it. The index of neighbours holds the truth."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: Hexadecimal.
    entry_key = models.CharField(max_length=64)
    namespace = models.CharField(max_length=128, blank=True, default="")
    model = models.CharField(max_length=200, blank=True, default="")
    reason = models.CharField(max_length=8, choices=QuarantineReason)
    #: How diverse the prompts were, 0 to 1, and how many; null where that was not the reason.
    diversity = models.FloatField(null=True, blank=True)
    prompts = models.PositiveIntegerField(null=True, blank=True)
    #: The near question that led to it; "" where it is not known.
    event_id = models.CharField(max_length=32, blank=True, default="")
    at = models.DateTimeField(db_default=Now())
    #: Address of who reported it, or `API key …`; "" for the server itself.
    by = models.CharField(max_length=254, blank=True, default="")
    #: Whether the index has been told of the quarantine, or of its end.
    is_told = models.BooleanField(default=False)
    released_at = models.DateTimeField(null=True, blank=True)
    released_by = models.CharField(max_length=254, blank=True, default="")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "entry_key"],
                condition=models.Q(released_at__isnull=True),
                name="semantics_quarantined_once",
            )
        ]
        indexes = [
            models.Index(fields=["team", "-at"], name="semantics_quarantine_newest"),
            models.Index(fields=["is_told"], condition=models.Q(is_told=False), name="semantics_quarantine_untold"),
        ]

    def __str__(self) -> str:
        return self.entry_key
