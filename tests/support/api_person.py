"""People who use the API of a running site, over the network, as programs of theirs would."""

from __future__ import annotations

import itertools
import os
from typing import Any

import httpx2 as httpx

from tests.support.browser.site import Site

PASSWORD = "correct horse battery staple"
_NUMBERS = itertools.count(1)


class ApiPerson:
    """Somebody at an address of their own, with a session once `join` or `sign_in` is done. Every call is a new connection,
    so that it may meet any worker."""

    def __init__(self, site: Site, name: str = "ada", password: str = PASSWORD) -> None:
        number = next(_NUMBERS)
        self.site = site
        self.email = f"{name}-{os.getpid()}-{number}@example.com"
        self.password = password
        self.network = f"10.{200 + number // 65025}.{number // 255 % 255}.{number % 255}"
        self.token = ""

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a request below /api."""
        given = {"X-Forwarded-For": self.network, **headers}
        if self.token:
            given["X-Session-Token"] = self.token
        content = None if method == "GET" else {} if body is None else body
        answer = httpx.request(method, f"{self.site.url}/api{path}", headers=given, timeout=60, json=content)
        self.token = answer.headers.get("X-Session-Token", self.token)
        return answer

    def do(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request that has to succeed; return its JSON."""
        answer = self.ask(method, path, body)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def join(self) -> ApiPerson:
        """Register, follow the mailed link, sign in."""
        self.do("POST", "/account/register", {"email": self.email})
        token = self.site.mail(self.email, "confirm").link.partition("token=")[2]
        self.do("POST", "/account/verify", {"token": token, "password": self.password})
        return self.sign_in()

    def sign_in(self, **more: Any) -> ApiPerson:
        """Begin a session."""
        self.token = ""
        self.token = self.do("POST", "/account/login", {"email": self.email, "password": self.password, **more})[
            "session_token"
        ]
        return self

    def team_id(self) -> str:
        """Return the id of the person's own team."""
        return str(self.do("GET", "/teams")[0]["team"]["id"])

    def new_key(self, **given: Any) -> tuple[str, str]:
        """Make an API key; return its id and its value."""
        made = self.do("POST", "/keys", {"name": "key", **given})
        return made["key"]["id"], made["api_key"]
