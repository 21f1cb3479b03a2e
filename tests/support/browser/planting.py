"""Puts hostile text wherever the product takes somebody's words, through the doors that everybody has."""

from __future__ import annotations

import json
import struct
import time
import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx2 as httpx

from tests.support.browser.hostile import payloads
from tests.support.browser.near_questions import leave_near_questions
from tests.support.browser.people import program_of
from tests.support.browser.site import PATIENCE_SECONDS, Site
from tests.support.browser.visitor import Visitor

#: At most so many new mailboxes an hour may be invited by one team.
_INVITATIONS = 10
_KEYS = 12


@dataclass
class Planting:
    """`taken` counts by place what validation let in, `sample` is one text of each place that must be seen as text."""

    visitor: Visitor
    taken: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    sample: dict[str, str] = field(default_factory=dict)
    team_id: str = ""

    @property
    def site(self) -> Site:
        """The server."""
        return self.visitor.site

    def everywhere(self) -> None:
        """Plant. The visitor is signed in, just now, and is an operator."""
        with program_of(self.visitor) as program:
            self._people(program)
            self.team_id = team_id = self._teams(program)
            api_key = self._keys(program)
            self._invitations(program, team_id)
            self._logo(program, team_id)
            self._limits(program)
            self._listeners(program)
            self._policies(program)
            self._webhooks(program)
            self._prewarming(program)
            self._judges(program)
            self._near_questions(program, team_id)
        self._sign_ins()
        self._calls(api_key)
        self._entries(api_key)
        self._invalidations(api_key)

    def wait_until_counted(self) -> None:
        """Wait until the calls have come to the pages."""
        until = time.monotonic() + PATIENCE_SECONDS
        with program_of(self.visitor) as program:
            last = {"live": "0", "agent": payloads()[-1]}
            while 'id="request-' not in program.get("/dashboard/requests", params=last).text:
                assert time.monotonic() < until, "the calls were never counted"
                time.sleep(0.1)

    def _note(self, place: str, text: str, answer: httpx.Response) -> bool:
        assert answer.status_code < 500, (place, text, answer.text)
        if answer.status_code >= 400:
            assert answer.status_code in (400, 409, 422), (place, text, answer.status_code, answer.text)
            self.refused[place] += 1
            return False
        self.taken[place] += 1
        self.sample[place] = text
        return True

    def _people(self, program: httpx.Client) -> None:
        for text in payloads()[:20]:
            self._note("people", text, program.patch("/api/account/me", json={"name": text}))

    def _teams(self, program: httpx.Client) -> str:
        team_id: str = program.get("/api/teams").json()[0]["team"]["id"]
        for text in payloads():
            self._note("teams", text, program.patch(f"/api/teams/{team_id}", json={"name": text}))
        for text in payloads()[:4]:
            self._note("more teams", text, program.post("/api/teams", json={"name": text}))
        return team_id

    def _keys(self, program: httpx.Client) -> str:
        made: list[dict[str, Any]] = []
        for text in payloads()[:_KEYS]:
            answer = program.post("/api/keys", json={"name": text, "namespace": "hostile"})
            if self._note("keys", text, answer):
                made.append(answer.json() | answer.json().get("key", {}))
        for text in payloads()[_KEYS : _KEYS + 60]:
            self._note("keys", text, program.patch(f"/api/keys/{made[-1]['id']}", json={"name": text}))
        for text, key in zip(payloads()[-2:], made, strict=False):
            report = {"api_key": key["api_key"], "found_at": f"https://pastes.example/{text}"}
            self._note("reports", text, program.post("/api/keys/leaked", json=report))
        return str(made[-1]["api_key"])

    def _invitations(self, program: httpx.Client, team_id: str) -> None:
        # A local part in quotes may hold nearly everything but spaces and quotes.
        fitting = [text for text in payloads() if not set(text) & {" ", '"', "\\"} and text.isascii()]
        for text in fitting[:_INVITATIONS]:
            invitation = {"email": f'"{text}"@example.com', "role": "member"}
            self._note("invitations", text, program.post(f"/api/teams/{team_id}/invitations", json=invitation))

    def _logo(self, program: httpx.Client, team_id: str) -> None:
        text = payloads()[0]
        files = {"logo": (f"{payloads()[5]}.png", _pixel(text), "text/html")}
        answer = program.post("/dashboard/team/logo", files=files)
        assert answer.status_code == 302, answer.text
        self.taken["files"] += program.get(f"/api/teams/{team_id}/logo").status_code == 200
        picture = f'<svg xmlns="http://www.w3.org/2000/svg" onload="__xss=1"><script>{text}</script></svg>'
        self._note("files", text, program.put(f"/api/teams/{team_id}/logo", content=picture.encode()))

    def _limits(self, program: httpx.Client) -> None:
        for text in payloads()[:20]:
            limit = {"kind": "agent", "subject": text, "requests_per_month": 1000}
            self._note("limits", text, program.put("/api/quotas/limits", json=limit))

    def _listeners(self, program: httpx.Client) -> None:
        for number, text in enumerate(payloads()[:8]):
            wanted = {"url": f"https://docs.example/{number}", "checkInterval": 86_400_000, "tags": [text]}
            self._note("listeners", text, program.post("/api/listeners/register", json=wanted))

    def _policies(self, program: httpx.Client) -> None:
        for text in payloads()[:8]:
            policy = {
                "name": text,
                "match": {"namespaces": ["nobody's"], "tags": [text], "models": [text], "prompt": text},
            }
            answer = program.post("/api/policies", json=policy)
            if answer.status_code == 400:
                policy["match"] = {"namespaces": ["nobody"]}
                answer = program.post("/api/policies", json=policy)
            self._note("policies", text, answer)

    def _webhooks(self, program: httpx.Client) -> None:
        """Make endpoints, a delivery that fails, and a job that sends it again."""
        for number, text in enumerate(payloads()[:8]):
            wanted = {
                "url": f"https://hooks.invalid/{number}",
                "description": text,
                "event_types": ["listener.changed"],
            }
            answer = program.post("/api/webhooks/endpoints", json=wanted)
            if self._note("webhooks", text, answer):
                place = f"/api/webhooks/endpoints/{answer.json()['endpoint']['id']}"
                program.post(f"{place}/test", json={"event_type": "listener.changed"}).raise_for_status()
                span = {"since": "2026-01-01T00:00:00Z", "until": "2200-01-01T00:00:00Z"}
                program.post(f"{place}/redeliver", json=span).raise_for_status()

    def _prewarming(self, program: httpx.Client) -> None:
        """Keep a credential, whose end alone is shown, and prepare batches that nobody runs."""
        program.put("/api/credentials/openai", json={"credential": "sk-upstream-1234"}).raise_for_status()
        question = {
            "model": "gpt-5-mini",
            "max_tokens": 5,
            "messages": [{"role": "user", "content": "What is a mark?"}],
        }
        for text in payloads()[:8]:
            batch = {"title": text, "requests": [{"path": "/v1/chat/completions", "body": question}]}
            self._note("batches", text, program.post("/api/cache/prewarm", json={**batch, "dry_run": True}))
            when = {"cron": "0 3 1 1 *", "timezone": "UTC"}
            self._note("schedules", text, program.post("/api/cache/prewarm/schedules", json={**batch, **when}))

    def _judges(self, program: httpx.Client) -> None:
        """Have a judge, after the provider's credential is kept. Models without a price are none that it may be."""
        given = {"provider": "openai", "daily_budget_usd": "0.50"}
        for text in payloads()[:8]:
            self._note("judges", text, program.put("/api/semantics/judges/hostile", json={**given, "model": text}))
        program.put("/api/semantics/judges/hostile", json={**given, "model": "gpt-5-mini"}).raise_for_status()

    def _near_questions(self, program: httpx.Client, team_id: str) -> None:
        """Have questions that are hostile answered by others that are, too; one is reported."""
        program.put("/api/semantics/settings/hostile", json={"mode": "shadow"}).raise_for_status()
        texts = payloads()[-20:]
        requests = leave_near_questions(self.site, team_id, [(text, f"Matched: {text}") for text in texts])
        self.taken["near questions"] += len(requests)
        self.sample["near questions"] = texts[-1]
        until = time.monotonic() + PATIENCE_SECONDS
        while program.post("/api/semantics/reports", json={"request_id": requests[0]}).status_code == 404:
            assert time.monotonic() < until, "the near questions were never taken"
            time.sleep(0.2)

    def _invalidations(self, api_key: str) -> None:
        with self._caller(api_key) as client:
            for text in payloads()[:8]:
                meant = {"namespace": "nobody", "reason": text}
                self._note("invalidations", text, client.post("/api/cache/invalidate", json=meant))

    def _sign_ins(self) -> None:
        """Sign in with browsers whose names are hostile: they are shown among the sessions, and in mails."""
        credentials = {"email": self.visitor.email, "password": self.visitor.password}
        for number, text in enumerate(payloads()[:4]):
            headers = {
                "User-Agent": f"Mozilla/5.0 {text} Firefox/130.0", "Sec-Fetch-Site": "same-origin",
                "X-Forwarded-For": f"10.99.{number}.1",
            }  # fmt: skip
            answer = httpx.post(f"{self.site.url}/api/account/login", json=credentials, headers=headers)
            self._note("sign-ins", text, answer)

    def _calls(self, api_key: str) -> None:
        """Call models whose names, prompts and answers are hostile, as agents that are, too."""

        def call(text: str) -> tuple[str, httpx.Response]:
            agent = {"X-AgentCache-Agent": text} if text.isascii() else {}
            script = {"X-Fake-Script": json.dumps({"text": f"Answer: {text}"})}
            body = {"model": text, "messages": [{"role": "user", "content": f"Prompt: {text}"}]}
            headers = {"Authorization": "Bearer sk-upstream", **agent, **script}
            return text, client.post("/openai/v1/chat/completions", json=body, headers=headers)

        with self._caller(api_key) as client, ThreadPoolExecutor(4) as threads:
            for text, answer in threads.map(call, payloads()):
                self._note("calls", text, answer)

    def _entries(self, api_key: str) -> None:
        """Store answers by the API for programs, with hostile names, tags, sources and content."""

        def store(numbered: tuple[int, str]) -> tuple[str, httpx.Response]:
            number, text = numbered
            entry = {
                "key": text, "value": {"answer": text, text: [text]}, "namespace": "hostile",
                "tags": [text], "sources": [f"https://docs.example/{number}"],
            }  # fmt: skip
            return text, client.post("/api/cache/set", json=entry)

        with self._caller(api_key) as client, ThreadPoolExecutor(4) as threads:
            for text, answer in threads.map(store, enumerate(payloads())):
                self._note("entries", text, answer)

    def _caller(self, api_key: str) -> httpx.Client:
        return httpx.Client(base_url=self.site.url, headers={"X-AgentCache-Key": api_key}, timeout=60)


def _pixel(comment: str) -> bytes:
    """Return a picture of one pixel that carries a text."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    text = chunk(b"tEXt", b"Comment\0" + comment.encode())
    return b"\x89PNG\r\n\x1a\n" + head + text + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")
