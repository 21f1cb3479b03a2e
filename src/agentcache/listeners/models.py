"""Listeners of teams, what they saw, and when a host may be asked again."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team


class PausedBecause(models.TextChoices):
    """Why a listener does not look at its source."""

    NOT = "", "Active"
    PERSON = "person", "Paused"
    FAILURES = "failures", "Paused after repeated failure"


class EventKind(models.TextChoices):
    """What is worth remembering of a listener. A check that found everything as it was is only counted."""

    FIRST = "first", "First reading"
    CHANGED = "changed", "Changed"
    FAILED = "failed", "Check failed"
    RECOVERED = "recovered", "Readable again"
    PAUSED = "paused", "Paused"
    RESUMED = "resumed", "Resumed"


class Listener(models.Model):
    """One source that a team watches, what goes when it changes, and what was found last."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    url = models.CharField(max_length=2048)
    #: Of the URL: hosts are not asked too often, whoever watches them.
    host = models.CharField(max_length=255)
    #: CSS selector, or JSON path when it begins with `$`; "" for the whole document.
    selector = models.CharField(max_length=500, blank=True, default="")
    #: SHA-256 of what makes two listeners the same: URL, selector, namespace.
    fingerprint = models.CharField(max_length=64)
    check_interval_seconds = models.PositiveIntegerField()
    #: What is invalidated besides the entries that name the URL as their source: the tags (in the namespace, where one is
    #: given), or without tags the whole namespace.
    namespace = models.CharField(max_length=128, blank=True, default="")
    tags = models.JSONField(default=list)
    invalidates = models.BooleanField(default=True)
    #: Whether what a change means is asked for anew, with requests and provider credentials that the team keeps.
    refreshes = models.BooleanField(default=False, db_default=False)
    #: Told of each change directly, signed with the team's key; "" for nobody.
    webhook_url = models.CharField(max_length=1000, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    paused_because = models.CharField(max_length=8, choices=PausedBecause, blank=True, default="", db_default="")
    next_check_at = models.DateTimeField()
    #: Until when a worker has it in hand; a worker that dies lets go by this.
    claimed_until = models.DateTimeField(null=True, blank=True)
    #: Raised by each change of what is watched: what a check under way then finds no longer counts.
    version = models.PositiveIntegerField(default=0, db_default=0)

    last_checked_at = models.DateTimeField(null=True, blank=True)
    #: The last check that could read the source.
    last_read_at = models.DateTimeField(null=True, blank=True)
    last_changed_at = models.DateTimeField(null=True, blank=True)
    checks = models.PositiveBigIntegerField(default=0, db_default=0)
    changes = models.PositiveIntegerField(default=0, db_default=0)
    failures_in_row = models.PositiveIntegerField(default=0, db_default=0)
    #: Why the last check failed, in words that tell nothing of our network; "" when it did not.
    failure = models.CharField(max_length=200, blank=True, default="", db_default="")
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)
    #: html, json, text, pdf, feed or sitemap; "" before the first reading.
    kind = models.CharField(max_length=8, blank=True, default="", db_default="")
    #: Validators (RFC 9110, 8.8) of the document that was read last, as they came.
    etag = models.CharField(max_length=500, blank=True, default="", db_default="")
    last_modified = models.CharField(max_length=100, blank=True, default="", db_default="")
    #: Digests of the document's bytes and of what it says; empty before the first reading.
    body_digest = models.BinaryField(default=b"")
    text_digest = models.BinaryField(default=b"")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "fingerprint"], name="listeners_once")]
        indexes = [
            models.Index(fields=["next_check_at"], name="listeners_due", condition=Q(paused_because="")),
            models.Index(fields=["team", "-created_at"], name="listeners_of_team"),
        ]

    def __str__(self) -> str:
        return self.url[:200]


class KeptText(models.Model):
    """What a source said when it was read last, compressed: the next change is shown against it."""

    listener = models.OneToOneField(Listener, on_delete=models.CASCADE, primary_key=True, related_name="+")
    deflated = models.BinaryField()

    def __str__(self) -> str:
        return f"text of {self.listener_id}"


class ListenerEvent(models.Model):
    """Something that happened to a listener."""

    listener = models.ForeignKey(Listener, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=9, choices=EventKind)
    at = models.DateTimeField()
    #: The same thing in a row is one row: how often, and since when.
    times = models.PositiveIntegerField(default=1, db_default=1)
    since = models.DateTimeField()
    detail = models.CharField(max_length=200, blank=True, default="")
    #: Lines that begin with +, - or a blank.
    diff = models.TextField(blank=True, default="")
    added = models.PositiveIntegerField(default=0)
    removed = models.PositiveIntegerField(default=0)
    #: How many entries went.
    invalidated = models.PositiveIntegerField(default=0)
    #: How many requests are asked anew; null where that was not wanted, or is not known yet.
    asked_anew = models.PositiveIntegerField(null=True, blank=True)
    #: What was asked for: [{"what": "source", "value": …, "entries": 3}, …], at most the first 50.
    selectors = models.JSONField(default=list)

    class Meta:
        ordering = [F("id").desc()]
        indexes = [models.Index(fields=["listener", "-id"], name="listeners_history")]

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d %H:%M}"


class Host(models.Model):
    """When a host may be asked again. The row without a name is what claiming workers take turns by."""

    name = models.CharField(primary_key=True, max_length=255)
    free_at = models.DateTimeField(db_index=True)
    #: What its robots.txt asks for between two requests; 0 for nothing of its own.
    delay_seconds = models.FloatField(default=0.0, db_default=0.0)

    def __str__(self) -> str:
        return self.name
