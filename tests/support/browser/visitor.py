"""Somebody with a browser: one context with its cookies, one page, and a list of everything that went wrong in it."""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

from tests.support.browser.site import PATIENCE_SECONDS, Site

PASSWORD = "correct horse battery staple"
_NUMBERS = itertools.count(1)
#: Tells of every violated content security policy on the console, where all else that goes wrong is told, too.
_REPORT_VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (e) =>
  console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sourceFile}:${e.lineNumber} ${e.sample}`));
"""


@dataclass
class Visitor:
    """A person on a site. `page` is Playwright's; `troubles` is what a test has to answer for."""

    site: Site
    page: Page
    email: str
    password: str = PASSWORD
    #: Headers by which every request of theirs comes from a network of their own.
    network: dict[str, str] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _expected: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, browser: Browser, site: Site, name: str = "ada", **options: Any) -> Visitor:
        """Open a browser window of somebody who was never here, at a network of their own."""
        number = next(_NUMBERS)
        network = {"X-Forwarded-For": f"10.{os.getpid() % 251}.{number // 251}.{number % 251}"}
        options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **options}
        context = browser.new_context(base_url=site.url, extra_http_headers=network, **options)
        context.set_default_timeout(60_000)
        context.add_init_script(_REPORT_VIOLATIONS)
        email = f"{name}-{os.getpid()}-{number}@example.com"
        visitor = cls(site, context.new_page(), email, network=network)
        context.on("console", visitor._hear)
        context.on("weberror", lambda error: visitor.troubles.append(f"error: {error.error}"))
        context.on("request", visitor._note)
        context.on("response", visitor._judge)
        return visitor

    def open(self, path: str) -> Page:
        """Go to a page of the site; it has to be there."""
        response = self.page.goto(path)
        assert response is not None
        assert response.status == 200, f"{path} answered {response.status}"
        return self.page

    @contextmanager
    def answering(self) -> Iterator[Visitor]:
        """Lend a window that many tests use; whatever goes wrong in it inside the block fails the block."""
        yield self
        troubles, self.troubles[:] = self.troubles[:], []
        assert not troubles, "\n".join(troubles)

    @contextmanager
    def expecting(self, *patterns: str) -> Iterator[None]:
        """Forgive the troubles that match a pattern inside the block; each pattern has to be met."""
        before = len(self.troubles)
        yield
        self.page.wait_for_timeout(50)
        until = time.monotonic() + PATIENCE_SECONDS
        while missing := [one for one in patterns if not any(re.search(one, told) for told in self.troubles[before:])]:
            assert time.monotonic() < until, f"nothing of {missing} in {self.troubles[before:]}"
            self.page.wait_for_timeout(50)
        new, self.troubles[before:] = self.troubles[before:], []
        self.troubles += [one for one in new if not any(re.search(pattern, one) for pattern in patterns)]

    def fill(self, **fields: str) -> None:
        """Fill fields in by their names."""
        for name, text in fields.items():
            self.page.locator(f"[name={name}]").first.fill(text)

    def press(self, label: str) -> None:
        """Press a button, or follow a link, by what it says."""
        exact = re.compile(rf"^\s*{re.escape(label)}\s*$", re.IGNORECASE)
        button = self.page.get_by_role("button", name=exact)
        (button if button.count() else self.page.get_by_role("link", name=exact)).first.click()

    def register(self) -> None:
        """Fill the registration form in."""
        self.open("/signup")
        self.fill(email=self.email)
        with self.page.expect_navigation():
            self.page.locator("main form:has([name=email]) button[type=submit]").click()

    def sign_up(self) -> Visitor:
        """Make an account and be signed in, without a page: three of them take as long as many a test."""
        self._ask("register", email=self.email)
        token = self.site.mail(self.email, "confirm").link.partition("token=")[2]
        self._ask("verify", token=token, password=self.password)
        session = self._ask("login", email=self.email, password=self.password)["session_token"]
        self.page.context.add_cookies([
            {
                "name": "agentcache_session", "value": session, "url": self.site.url,
                "httpOnly": True, "sameSite": "Lax",
            },
        ])  # fmt: skip
        return self

    def sign_up_on_pages(self) -> Visitor:
        """Register, follow the mailed link, choose a password, sign in."""
        self.register()
        self.open(self.site.mail(self.email, "confirm").link)
        self.fill(password=self.password)
        with self.page.expect_navigation():
            self.page.locator("main form button[type=submit]").first.click()
        self.sign_in()
        return self

    def sign_in(self, path: str = "/login") -> None:
        """Sign in with address and password."""
        if not urlsplit(self.page.url).path.startswith("/login"):
            self.open(path)
        self.fill(email=self.email, password=self.password)
        self.page.locator("main form:has([name=password]) button[type=submit]").click()
        self.page.wait_for_url(lambda url: not urlsplit(url).path.startswith("/login"))

    def close(self) -> None:
        """Close the window."""
        self.page.context.close()

    def _ask(self, path: str, **body: str) -> dict[str, Any]:
        place = f"{self.site.url}/api/account/{path}"
        answer = httpx.post(place, json=body, headers=self.network, timeout=60)
        assert answer.status_code < 300, (path, answer.status_code, answer.text)
        said: dict[str, Any] = answer.json() if answer.content else {}
        return said

    def _hear(self, message: ConsoleMessage) -> None:
        # Answers are judged by `_judge`, which knows a page that says 404 from a script that is missing.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.troubles.append(f"console: {message.text} ({message.page.url if message.page else ''})")

    def _note(self, request: Request) -> None:
        self.requests.append(request.url)
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and f"{parts.scheme}://{parts.netloc}" != self._origin():
            self.troubles.append(f"foreign: {request.method} {request.url}")

    def _origin(self) -> str:
        # Passkeys work on a name only, so their tests use localhost.
        host = urlsplit(self.page.url).hostname
        return self.site.url.replace("127.0.0.1", "localhost") if host == "localhost" else self.site.url

    def _judge(self, response: Response) -> None:
        is_page = response.request.is_navigation_request()
        if response.status >= (500 if is_page else 400):
            self.troubles.append(f"answer: {response.status} {response.request.method} {response.url}")
