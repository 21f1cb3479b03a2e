"""Endpoints of teams, what they are told, and every try to tell them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team


class DisabledBecause(models.TextChoices):
    """Why an endpoint is off."""

    NOT = "", "On"
    PERSON = "person", "Switched off by a member"
    FAILURES = "failures", "Switched off after failing for days"
    GONE = "gone", "Switched off because it answered 410 Gone"


class EndedBecause(models.TextChoices):
    """Why a delivery failed for good."""

    NOT = "", ""
    TRIES = "tries", "Every try failed"
    GONE = "gone", "The receiver answered 410 Gone"
    OFF = "off", "The endpoint was switched off"
    LOST = "lost", "The job worker died at every try"


class DeliveryState(models.TextChoices):
    """What became of a delivery."""

    WAITING = "waiting", "Waiting"
    DELIVERED = "delivered", "Delivered"
    FAILED = "failed", "Failed"


class Endpoint(models.Model):
    """Where a team wants to be told of some types of events."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    url = models.CharField(max_length=1000)
    description = models.CharField(max_length=200, blank=True, default="")
    #: Names of event types, at least one.
    event_types = models.JSONField(default=list)
    #: Of the hits in the cache, how many of a thousand it is told of.
    hits_per_mille = models.PositiveSmallIntegerField(default=0, db_default=0)
    #: Only hits in this namespace, "" for all.
    hits_namespace = models.CharField(max_length=128, blank=True, default="")
    #: Whether messages carry a signature by a public key (v1a) beside that by the secret.
    signs_with_key = models.BooleanField(default=False, db_default=False)
    is_enabled = models.BooleanField(default=True)
    disabled_because = models.CharField(max_length=8, choices=DisabledBecause, blank=True, default="")
    disabled_at = models.DateTimeField(null=True, blank=True)
    #: Tries that failed since the last one that succeeded, and when that began.
    failures_in_row = models.PositiveIntegerField(default=0, db_default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    #: Its answer asked us to wait (429, 502, 503, 504): nothing is sent before.
    paused_until = models.DateTimeField(null=True, blank=True)
    #: How many failures in a row people were told of last; 0 for none since it worked.
    told_failures = models.PositiveSmallIntegerField(default=0, db_default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["team", "created_at"], name="webhooks_endpoints_of_team")]

    def __str__(self) -> str:
        return self.url


class EndpointSecret(models.Model):
    """What signs for an endpoint. A replaced one signs along until it ends."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="secrets")
    #: 32 bytes, encrypted with the team's key.
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    #: When it stops signing; null for the present one.
    ends_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["endpoint"], condition=Q(ends_at__isnull=True), name="webhooks_one_present_secret"
            )
        ]

    def __str__(self) -> str:
        return f"secret {self.id}"


class Message(models.Model):
    """One thing that happened, in the very bytes in which endpoints are told of it."""

    #: `msg_` and 32 hex digits: the `webhook-id`, the same at every try.
    id = models.CharField(primary_key=True, max_length=40, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    event_type = models.CharField(max_length=64)
    #: JSON: type, timestamp, data.
    body = models.TextField()
    is_test = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        indexes = [models.Index(fields=["created_at"], name="webhooks_messages_by_age")]

    def __str__(self) -> str:
        return f"{self.event_type} {self.id}"


class Delivery(models.Model):
    """One message for one endpoint. Its job has an id made of its own and of `redeliveries`."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="deliveries")
    endpoint = models.ForeignKey(Endpoint, on_delete=models.CASCADE, related_name="deliveries")
    event_type = models.CharField(max_length=64)
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.WAITING)
    #: Tries since it was made or made again.
    tries = models.PositiveSmallIntegerField(default=0)
    #: How often it was sent again because somebody asked.
    redeliveries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    next_try_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_because = models.CharField(max_length=8, choices=EndedBecause, blank=True, default="", db_default="")
    #: HTTP status of the last try; null before it, and when there was no answer.
    last_status = models.PositiveSmallIntegerField(null=True, blank=True)

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [models.UniqueConstraint(fields=["message", "endpoint"], name="webhooks_delivery_once")]
        indexes = [
            models.Index(fields=["endpoint", "-id"], name="webhooks_of_endpoint"),
            models.Index(
                fields=["created_at"], name="webhooks_waiting", condition=Q(state=DeliveryState.WAITING.value)
            ),
        ]

    @property
    def job_id(self) -> str:
        """Return the id of the job that delivers it, this time round."""
        return f"{self.pk}:{self.redeliveries}"

    def __str__(self) -> str:
        return f"{self.event_type} {self.id}"


class Attempt(models.Model):
    """One try to deliver, and what came back."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="attempts")
    at = models.DateTimeField(db_default=Now(), editable=False)
    duration_ms = models.PositiveIntegerField()
    #: Null without an answer.
    status = models.PositiveSmallIntegerField(null=True, blank=True)
    #: What went wrong in words that tell nothing of our network; "" where the status says it.
    failure = models.CharField(max_length=100, blank=True, default="")
    #: First bytes of the answer, as text.
    response = models.TextField(blank=True, default="")
    request_headers = models.JSONField(default=dict)

    class Meta:
        indexes = [models.Index(fields=["delivery", "id"], name="webhooks_of_delivery")]

    def __str__(self) -> str:
        return f"{self.status} {self.id}"
