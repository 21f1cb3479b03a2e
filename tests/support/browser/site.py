"""A whole AgentCache for browsers: server with its job worker, a fake provider behind it, mailboxes in a folder."""

from __future__ import annotations

import email
import email.policy
import re
import time
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Self

import httpx2 as httpx
import pytest

from agentcache.demo.fake_provider import FakeProvider
from tests.support.migrated_records import put_into
from tests.support.server_process import ServerProcess
from tests.support.tiers import ENGINES

PATIENCE_SECONDS = 60.0
#: Has the fixture `site` stand on each of the databases.
on_databases = pytest.mark.parametrize("site", ENGINES, indirect=True)


@dataclass(frozen=True)
class Letter:
    """A mail that has arrived."""

    to: str
    subject: str
    text: str
    html: str

    @property
    def link(self) -> str:
        """The first address in it that leads to a page of its own."""
        found = re.search(r"https?://[^\s/]+/[^\s>]+", self.text)
        assert found is not None, self.text
        return found[0].rstrip(".")


class Site:
    """`with Site(folder) as site:` serves pages on `site.url`; `settings` are of the server."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.provider = FakeProvider()
        # Each visitor comes from an address of their own, or the doors would close on the tests. What is watched is on loopback.
        usual = {"AGENTCACHE_TRUSTED_PROXIES": "1", "AGENTCACHE_STORE_BUDGET_MS": "10000"}
        self._settings = {**usual, "AGENTCACHE_EGRESS_ALLOW": "127.0.0.1", **settings}
        self._read: dict[Path, Letter] = {}

    @property
    def url(self) -> str:
        """Base URL without a slash at the end."""
        return self.server.url

    def __enter__(self) -> Self:
        self.provider.__enter__()
        upstreams = {
            f"AGENTCACHE_UPSTREAM_{name.upper()}": f"{self.provider.url}/{name}" for name in ("openai", "anthropic")
        }
        if "AGENTCACHE_DATABASE_URL" not in self._settings and not (self.folder / "app.db").exists():
            put_into(self.folder)
        self.server = ServerProcess(self.folder, **upstreams, **self._settings)
        self.server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
        self.provider.__exit__(None, None, None)

    def letters(self, to: str) -> list[Letter]:
        """Return the mails that have come for an address, oldest first."""
        for path in sorted((self.folder / "outbox").glob("*.eml")):
            if path not in self._read:
                self._read[path] = _opened(path)
        return [letter for _, letter in sorted(self._read.items()) if letter.to == to]

    def mail(self, to: str, subject: str = "", *, nth: int = 1) -> Letter:
        """Wait for the nth mail to an address whose subject holds some words."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            found = [letter for letter in self.letters(to) if subject.lower() in letter.subject.lower()]
            if len(found) >= nth:
                return found[nth - 1]
            time.sleep(0.05)
        raise AssertionError(f"no mail {subject!r} to {to}; there are {[one.subject for one in self.letters(to)]}")

    def call(self, api_key: str, prompt: str, *, model: str = "gpt-5-mini", **headers: str) -> httpx.Response:
        """Make one call of a model through the cache, as a program would."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        given = {"Authorization": "Bearer sk-upstream", "X-AgentCache-Key": api_key, **headers}
        return httpx.post(f"{self.url}/openai/v1/chat/completions", json=body, headers=given, timeout=60)


def _opened(path: Path) -> Letter:
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return Letter(str(message["To"]), str(message["Subject"]), text.get_content(), html.get_content())
