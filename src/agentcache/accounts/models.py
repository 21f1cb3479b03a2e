"""People, their sessions, and the links that were mailed to them."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Lower, Now

from agentcache.kit.ids import new_id


class Users(BaseUserManager["User"]):
    """Finds and makes users by e-mail address."""

    def create_user(self, email: str, password: str | None = None, **extra: Any) -> User:
        """Create a user; without a password nobody can sign in with one."""
        user = self.model(email=self.normalize_email(email), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: Any) -> User:
        """Create an operator, who may use the operator console."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)

    def get_by_natural_key(self, username: str | None) -> User:
        """Return the user who signs in with this address; letter case does not matter."""
        return self.get(email__iexact=username)


class Theme(models.TextChoices):
    """Colours of the pages."""

    SYSTEM = "system", "As the system"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


class User(AbstractBaseUser, PermissionsMixin):
    """Somebody who signs in with an e-mail address."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    email = models.EmailField("e-mail address", max_length=254, unique=True)
    name = models.CharField(max_length=100, blank=True)
    is_active = models.BooleanField(default=True)
    #: May open the operator console.
    is_staff = models.BooleanField("operator", default=False)
    #: Shorter than is accepted without a second factor, so that the last factor cannot be removed before it is changed.
    has_short_password = models.BooleanField(default=False, editable=False)
    theme = models.CharField(max_length=8, choices=Theme, default=Theme.SYSTEM)
    #: Whether pages listen to single keys, such as / for search.
    has_shortcuts = models.BooleanField("keyboard shortcuts", default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = Users()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="accounts_user_email_unique")]

    def __str__(self) -> str:
        return self.email


class LoginSession(models.Model):
    """A session. Neither its id nor what it holds can be read here: the id is hashed, the content sealed."""

    #: SHA-256 of the session id, in hex.
    session_key = models.CharField(primary_key=True, max_length=64)
    session_data = models.TextField()
    #: When it ends unless it is used again: the idle limit, but never beyond the absolute one.
    expire_date = models.DateTimeField(db_index=True)
    #: Names the session in lists; stays the same when the session gets a new id. Not unique while it does.
    handle = models.CharField(max_length=32, default=new_id, db_index=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="sessions")
    started_at = models.DateTimeField()
    #: To the minute, so that reading pages does not write with every request.
    last_seen_at = models.DateTimeField()
    #: Network of the caller: an IPv4 address without its last 8 bits, an IPv6 address without its last 80.
    network = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=300, blank=True)
    #: Signed in with a second factor and the wish to be kept: the longer limits hold.
    is_kept = models.BooleanField(db_default=False, default=False)
    #: The user's rights have changed: the next request gets a new id.
    needs_new_id = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["user", "-last_seen_at"], name="accounts_session_of_user")]

    def __str__(self) -> str:
        return f"{self.user_id} since {self.started_at:%Y-%m-%d %H:%M}"


class LinkPurpose(models.TextChoices):
    """What a mailed link is for."""

    REGISTER = "register"
    RESET = "reset"
    CHANGE_EMAIL = "change_email"


class MailedLink(models.Model):
    """A link that proves a mailbox. Works once; a registration lives here, not among users, until its link is used.

    Nothing else of a registration is kept: password and name are given by whoever opens the link, for whoever asked for
    it may be somebody else.
    """

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    purpose = models.CharField(max_length=16, choices=LinkPurpose)
    #: SHA-256 of the token in the link; null until the mail is written.
    token_hash = models.BinaryField(max_length=32, null=True, unique=True)
    email = models.EmailField(max_length=254, db_index=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, null=True, related_name="+")
    created_at = models.DateTimeField(db_index=True)
    #: Null until the mail is written.
    expires_at = models.DateTimeField(null=True)
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.purpose} for {self.email}"


class AttemptCount(models.Model):
    """Tries at one door by one subject in the current and in the previous window of a limit."""

    #: Door, window and a keyed hash of the subject.
    key = models.CharField(primary_key=True, max_length=96)
    window = models.BigIntegerField()
    count = models.IntegerField()
    previous = models.IntegerField()
    ends_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.key
