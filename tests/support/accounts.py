"""People who use the account API of a project in this process, and their mailboxes."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass, field
from typing import Any

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.db import connection
from django.http import HttpResponse
from django.test import Client

from agentcache.accounts import jobs as account_jobs
from agentcache.accounts.models import User
from agentcache.jobs.models import Job
from agentcache.mails import services as mails
from agentcache.mails.models import Mail

PASSWORD = "correct horse battery staple"
HOST = "127.0.0.1:8787"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"


@dataclass(frozen=True)
class Letter:
    """A mail, opened."""

    template: str
    to: str
    subject: str
    text: str
    html: str

    @property
    def token(self) -> str:
        """The token of the link in it."""
        found = re.search(r"token=([\w-]+)", self.text)
        assert found is not None, self.text
        return found[1]


def do_account_jobs() -> None:
    """Do what the worker would do: decide what to mail."""
    for job in Job.objects.filter(name=account_jobs.WRITE_MAIL).order_by("created_at", "id"):
        account_jobs.write_mail(job.payload)
        job.delete()


def letters(to: str = "") -> list[Letter]:
    """Return the mails that are queued, oldest first, to one mailbox or to all."""
    do_account_jobs()
    found = []
    for mail in Mail.objects.order_by("created_at", "id"):
        body = mails.body_of(mail)
        assert body is not None
        if to in ("", mail.to):
            found.append(Letter(mail.template, mail.to, mail.subject, body.text, body.html))
    return found


def totp(secret: str, steps: int = 0) -> str:
    """Return the code that an app shows now, or some half minutes from now."""
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + steps))


@dataclass
class Person:
    """A program or a browser that speaks to the account API."""

    email: str = "ada@example.com"
    password: str = PASSWORD
    address: str = "198.51.100.7"
    token: str = ""
    is_browser: bool = False
    client: Client = field(default_factory=lambda: Client(HTTP_HOST=HOST, raise_request_exception=True))

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
        """Send a request below /api/account; underscores in header names become hyphens."""
        meta = {"REMOTE_ADDR": self.address, "HTTP_USER_AGENT": FIREFOX if self.is_browser else "test-program/1.0"}
        if self.is_browser:
            meta["HTTP_SEC_FETCH_SITE"] = "same-origin"
        if self.token:
            meta["HTTP_X_SESSION_TOKEN"] = self.token
        meta |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
        data = b"" if body is None else json.dumps(body).encode()
        answer: Any = self.client.generic(method, f"/api/account{path}", data, "application/json", **meta)  # type: ignore[arg-type]  # headers of the environment
        if answer.headers.get("X-Session-Token"):
            self.token = answer.headers["X-Session-Token"]
        return answer

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """Send a POST."""
        return self.ask("POST", path, {} if body is None else body, **headers)

    def get(self, path: str, **headers: str) -> Any:
        """Send a GET."""
        return self.ask("GET", path, **headers)

    def register(self) -> None:
        """Register, and wait for the mail."""
        assert self.post("/register", {"email": self.email}).status_code == 202

    def verify(self, token: str) -> Any:
        """Open a mailed link, and choose the password."""
        return self.post("/verify", {"token": token, "password": self.password})

    def join(self) -> Person:
        """Register and confirm the address."""
        self.register()
        assert self.verify(letters(self.email)[-1].token).status_code == 200
        Mail.objects.all().delete()
        return self

    def sign_in(self, **more: Any) -> Any:
        """Sign in with address and password."""
        self.token = ""
        return self.post("/login", {"email": self.email, "password": self.password, **more})

    @property
    def user(self) -> User:
        """The row."""
        return User.objects.get(email=self.email)

    @property
    def is_in(self) -> bool:
        """Whether the session works."""
        return bool(self.get("/me").status_code == 200)

    def age(self, seconds: float) -> None:
        """Make the proof of who this is older than it is."""
        from agentcache.accounts.access import AUTHENTICATED_AT
        from agentcache.accounts.session_store import SessionStore

        key = self.token or self.client.cookies["agentcache_session"].value
        session = SessionStore(key)
        session[AUTHENTICATED_AT] = time.time() - seconds
        session.save()

    def add_totp(self) -> tuple[str, list[str]]:
        """Add an authenticator app; return its seed and the recovery codes."""
        secret = self.post("/totp").json()["secret"]
        answer = self.post("/totp/confirm", {"code": totp(secret)})
        assert answer.status_code == 200, answer.content
        forget_last_step(self.user)
        return secret, answer.json()["recovery_codes"]


def forget_last_step(user: User) -> None:
    """Let the code of this half minute be used (again), so that a test need not wait for the next."""
    from allauth.mfa.models import Authenticator

    row = Authenticator.objects.get(user=user, type="totp")
    row.data["last_step"] = 0
    row.save()


def stranger(**given: Any) -> Person:
    """Return a person without session, cookies or account."""
    return Person(**given)


def close_connection() -> None:
    """Close this thread's connection to the database."""
    connection.close()
