"""Fifty tenants that ask the same things at once, and a judge who looks for one tenant's words in another's answers.

Every tenant's provider key makes the fake provider sign its answers with the tenant's canary. Values that tenants store
themselves are signed the same way.

`run` sends over real sockets; `run_inside` calls the ASGI application on its own loop, which is several times as quick.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import re
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agentcache.demo.fake_provider.answers import embedding_vector
from tests.support.raw_http import RawAnswer, read_answer

PROMPTS = ("Which port?", "What is a mark?", "Name three rivers.", "How long is a day?")
DIMENSIONS = 4
VERSION = "ab" * 32
_CANARY = re.compile(rb"canary:(t\d\d)(?![A-Za-z0-9])")
_BASE64 = re.compile(rb'"(?:b64_json|value)": ?"([A-Za-z0-9+/=]{40,})"')
_PIECE = re.compile(rb'"(?:content|text|delta|partial_json)": ?"((?:[^"\\]|\\.)*)"')
_OUTPUT = re.compile(rb'"output": ?\[([^\]]*)\]')
_STRING = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_PIPELINED = 16

#: name -> (weight, path, body for a prompt, streamed)
_PROVIDER_CALLS: dict[str, tuple[int, str, Callable[[str], dict[str, Any]]]] = {
    "chat": (16, "/openai/v1/chat/completions", lambda p: {"model": "gpt-4o-mini", "messages": _user(p)}),
    "chat stream": (
        10, "/openai/v1/chat/completions", lambda p: {"model": "gpt-4o-mini", "messages": _user(p), "stream": True},
    ),
    "messages": (
        8, "/anthropic/v1/messages", lambda p: {"model": "claude-haiku-4-5", "max_tokens": 90, "messages": _user(p)},
    ),
    "messages stream": (
        5, "/anthropic/v1/messages",
        lambda p: {"model": "claude-haiku-4-5", "max_tokens": 90, "messages": _user(p), "stream": True},
    ),
    "embeddings": (
        8, "/openai/v1/embeddings",
        lambda p: {"model": "text-embedding-3-small", "input": p, "dimensions": DIMENSIONS},
    ),
    "embedding batch": (
        4, "/openai/v1/embeddings",
        lambda p: {"model": "text-embedding-3-small", "input": [p, *PROMPTS[:2]], "dimensions": DIMENSIONS},
    ),
    "completions": (6, "/openai/v1/completions", lambda p: {"model": "gpt-3.5-turbo-instruct", "prompt": p}),
    "responses": (6, "/openai/v1/responses", lambda p: {"model": "gpt-5-mini", "input": p}),
    "responses stream": (3, "/openai/v1/responses", lambda p: {"model": "gpt-5-mini", "input": p, "stream": True}),
    "images": (4, "/openai/v1/images/generations", lambda p: {"model": "gpt-image-1", "prompt": p}),
    "moderations": (2, "/openai/v1/moderations", lambda p: {"model": "omni-moderation-latest", "input": p}),
    "together chat": (3, "/together/v1/chat/completions", lambda p: {"model": "meta/llama", "messages": _user(p)}),
    "predictions": (4, "/replicate/v1/predictions", lambda p: {"version": VERSION, "input": {"prompt": p, "seed": 3}}),
}  # fmt: skip


def canaries(answer: RawAnswer) -> set[bytes]:
    """Return the tenants whose canary an answer carries: anywhere, in base64, or spread over the pieces of a stream or an output."""
    found = set(_CANARY.findall(answer.everything))
    for encoded in _BASE64.findall(answer.body):
        found.update(_CANARY.findall(base64.b64decode(encoded + b"=" * (-len(encoded) % 4))))
    if b"data: " in answer.body:
        # A word at a time: `canary`, `:` and the tenant come in three events.
        found.update(_CANARY.findall(b"".join(_PIECE.findall(answer.body))))
    for listed in _OUTPUT.findall(answer.body):
        found.update(_CANARY.findall(b"".join(_STRING.findall(listed))))
    return found


@dataclass
class Verdict:
    """What the judge saw."""

    operations: int = 0
    hits: int = 0
    #: Answers that carried the asker's own canary, so that its absence elsewhere means something.
    own_canaries: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    #: What went wrong: a tenant, what it asked, and whose words it got.
    violations: list[str] = field(default_factory=list)
    #: Whose request each id was.
    asked_by: dict[str, str] = field(default_factory=dict)
    #: What came with a status of 500 or more, a few of them.
    failures: list[str] = field(default_factory=list)


def _user(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]


class CanaryLoad:
    """Calls of all tenants, in a mix that the seed decides."""

    def __init__(self, keys: dict[str, str], seed: int) -> None:
        self.tenants = list(keys)
        self.verdict = Verdict()
        self._key_owner: dict[str, str] = {}
        self._keys = keys
        self._chance = random.Random(seed)
        self._recent: deque[tuple[str, str]] = deque(maxlen=400)
        self._provider_calls = self._write_provider_calls()
        self._weights = [weight for weight, _, _ in _PROVIDER_CALLS.values()]
        self._vectors = {
            f"{embedding_vector(prompt, DIMENSIONS, tenant)[0]:.6f}": tenant for tenant in keys for prompt in PROMPTS
        }

    def _write_provider_calls(self) -> dict[tuple[str, str], list[Request]]:
        written = {}
        for tenant, key in self._keys.items():
            credential = f"x-provider-key: sk-canary-{tenant}\r\nx-agentcache-tags: load\r\n"
            for name, (_, path, body_of) in _PROVIDER_CALLS.items():
                extra = "prefer: wait\r\nx-agentcache-mode: on\r\n" if name == "predictions" else ""
                extra += "anthropic-version: 2023-06-01\r\n" if name.startswith("messages") else ""
                bodies = [json.dumps(body_of(prompt)) for prompt in PROMPTS]
                written[tenant, name] = [_request("POST", path, key, credential + extra, body) for body in bodies]
        return written

    def next_call(self) -> tuple[str, str, Request]:
        """Return the tenant, the kind and the next request."""
        chance = self._chance
        tenant = chance.choice(self.tenants)
        if chance.random() < 0.78:
            name = chance.choices(list(_PROVIDER_CALLS), self._weights)[0]
            return tenant, name, chance.choice(self._provider_calls[tenant, name])
        return tenant, *self._native_call(tenant)

    def _native_call(self, tenant: str) -> tuple[str, Request]:
        chance, key = self._chance, self._keys[tenant]
        prompt = chance.choice(PROMPTS)
        asked: dict[str, Any] = {"provider": "openai", "model": "gpt-4o-mini"}
        # Keys that anybody got lately: half of them another tenant's.
        some_key = "0" * 64
        for _ in range(chance.choice((1, 40)) if self._recent else 0):
            owner, some_key = chance.choice(self._recent)
            if owner == tenant:
                break
        draw = chance.random()
        if draw < 0.30:
            body = {**asked, "prompt": prompt} if chance.random() < 0.5 else {**asked, "messages": _user(prompt)}
            return "native get", _request("POST", "/api/cache/get", key, "", json.dumps(body))
        if draw < 0.42:
            body = {**asked, "prompt": prompt, "value": f"note canary:{tenant}", "tags": ["load"]}
            return "native set", _request("POST", "/api/cache/set", key, "", json.dumps(body))
        if draw < 0.57:
            return "get by key", _request("GET", f"/api/cache/get?key={some_key}", key)
        if draw < 0.68:
            return "show entry", _request("GET", f"/api/cache/entries/{some_key}", key)
        if draw < 0.78:
            return "list", _request("GET", "/api/cache/entries?limit=5", key)
        if draw < 0.88:
            body = {**asked, "messages": _user(prompt)}
            return "explain", _request("POST", "/api/cache/explain", key, "", json.dumps(body))
        if draw < 0.90:
            return "stats", _request("GET", "/api/cache/stats", key)
        if draw < 0.985:
            return "delete", _request("DELETE", f"/api/cache/entries/{some_key}", key)
        return "purge", _request("POST", "/api/cache/purge", key, "", json.dumps({"tags": ["load"]}))

    def judge(self, tenant: str, kind: str, answer: RawAnswer) -> None:
        """Look at one answer."""
        verdict = self.verdict
        verdict.operations += 1
        verdict.kinds[kind] += 1
        verdict.statuses[answer.status] += 1
        verdict.hits += answer.hit or b'"hit":true' in answer.body
        if answer.status >= 500 and len(verdict.failures) < 5000:
            verdict.failures.append(f"{kind}: {answer.status} {answer.body[:300]!r}")
        found = canaries(answer)
        if kind.startswith("embedding") and answer.status == 200:
            for item in answer.json()["data"]:
                found.add(self._vectors.get(f"{item['embedding'][0]:.6f}", "nobody").encode())
        if found == {tenant.encode()}:
            verdict.own_canaries[kind] += 1
        elif found:
            verdict.violations.append(f"{tenant} asked {kind} and got {sorted(found)}")
        key = answer.header("x-agentcache-key")
        if key:
            self._recent.append((tenant, key))
            owner = self._key_owner.setdefault(key, tenant)
            # Whoever asks by a key gets that key back; whoever asks by a request must not share one.
            if owner != tenant and kind not in ("get by key", "show entry", "delete"):
                verdict.violations.append(f"{tenant} and {owner} share the key {key}")
        request_id = answer.header("x-agentcache-request-id")
        if verdict.asked_by.setdefault(request_id, tenant) != tenant:
            verdict.violations.append(f"the request id {request_id} was given twice")

    async def run(self, url: str, operations: int, connections: int = 6) -> None:
        """Send `operations` requests over a few connections, several at once on each."""
        host, port = url.removeprefix("http://").split(":")
        left = operations

        async def drive() -> None:
            nonlocal left
            reader, writer = await asyncio.open_connection(host, int(port), limit=1 << 22)
            try:
                while left > 0:
                    number = min(_PIPELINED, left)
                    left -= number
                    calls = [self.next_call() for _ in range(number)]
                    writer.write(b"".join(request.raw for _, _, request in calls))
                    for tenant, kind, _ in calls:
                        answer, keeps = await read_answer(reader)
                        assert keeps, answer
                        self.judge(tenant, kind, answer)
            finally:
                writer.close()

        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(drive())

    async def run_inside(self, app: Any, operations: int, tasks: int = 24) -> None:
        """Make `operations` calls to an ASGI application, `tasks` at a time; has to run on its loop."""
        left = operations

        async def drive() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                tenant, kind, request = self.next_call()
                self.judge(tenant, kind, await request.call(app))

        async with asyncio.TaskGroup() as group:
            for _ in range(tasks):
                group.create_task(drive())


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as bytes for a socket and as a scope for an application."""

    raw: bytes
    scope: dict[str, Any]
    body: bytes

    async def call(self, app: Any) -> RawAnswer:
        """Have an ASGI application answer."""
        pending = [{"type": "http.request", "body": self.body, "more_body": False}]
        status = 0
        pairs: tuple[tuple[str, str], ...] = ()
        pieces: list[bytes] = []

        async def receive() -> dict[str, Any]:
            if pending:
                return pending.pop()
            await asyncio.Event().wait()  # nobody hangs up
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, pairs
            if message["type"] == "http.response.start":
                status = message["status"]
                pairs = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"])
            else:
                pieces.append(message.get("body", b""))

        await app(dict(self.scope), receive, send)
        return RawAnswer(status, pairs, b"".join(pieces))


def _request(method: str, target: str, key: str, more: str = "", body: str = "") -> Request:
    head = f"host: 127.0.0.1\r\nx-agentcache-key: {key}\r\n{more}"
    if body:
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    raw = f"{method} {target} HTTP/1.1\r\n{head}\r\n{body}".encode()
    path, _, query = target.partition("?")
    pairs = (line.split(": ", 1) for line in head.splitlines())
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": path, "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in pairs],
        "client": ("127.0.0.1", 40000), "server": ("127.0.0.1", 8787),
    }  # fmt: skip
    return Request(raw, scope, body.encode())
