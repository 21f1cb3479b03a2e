"""T12 and A15: no prompt, answer or credential in what a server leaves behind: log, metrics, errors, usage, files."""

from __future__ import annotations

import contextlib
import json
import os
import signal

import psutil
import pytest

from agentcache.kit.api_keys import new_api_key
from tests.support.gateway import FullGateway
from tests.support.guarded import wait_until
from tests.support.leaks import scan_folder, scan_text
from tests.support.raw_http import RawClient
from tests.support.reliability import record
from tests.support.routes import every_upstream, guarded_routes, settings_dialects
from tests.support.tiers import before_release

PROMPT = "zqxprompt"
ANSWER = "zqxanswer"
CREDENTIALS = {
    "provider": "sk-zqxprovider0123456789", "stolen": "sk-ant-zqxother0123456789", "cookie": "zqxcookie0123456789",
    "basic": "enF4YmFzaWM6MDEyMzQ1Njc4OQ", "proxy": "zqxproxy0123456789",
}  # fmt: skip
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "string", "description": PROMPT}}}
#: The cache itself, whose business it is to keep answers; looked into only where they must be encrypted.
CACHE_FILES = ("cache.db", "cache.db-wal", "cache.db-shm")


def requests(server):
    """Yield requests of all kinds, good and bad, each full of secrets."""
    key = [("X-AgentCache-Key", server.key())]
    credential = [*key, ("Authorization", f"Bearer {CREDENTIALS['provider']}")]
    for route in guarded_routes(settings_dialects(server.settings)):
        body = route.body
        if isinstance(body, dict):
            text = json.dumps(body).replace("Hi", PROMPT).replace("Which port?", PROMPT).replace("8787", ANSWER)
            body = json.loads(text) | ({"user": PROMPT} if "model" in body and route.group != "native" else {})
        yield route.method, route.target, [*credential, ("anthropic-version", "2023-06-01")], body
    chat = "/openai/v1/chat/completions"
    asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
    tools = [{"type": "function", "function": {"name": "f", "description": PROMPT, "parameters": {}}}]
    odd = ("zqxmember", "messages", "model", "temperature")
    yield "POST", chat, credential, asked | {"stream": True}
    yield "POST", chat, credential, asked | {"tools": tools, "response_format": SCHEMA, "metadata": {"a": PROMPT}}
    yield "POST", chat, credential, asked | {"model": f"no-such-{PROMPT}"}
    for member in odd:
        yield "POST", chat, credential, asked | {member: {PROMPT: [PROMPT]}}
    for raw in (f'{{"a": "{PROMPT}"', f'["{PROMPT}"]', f'{{"{PROMPT}": 1, "{PROMPT}": 2}}', f'"{PROMPT}\x00', PROMPT):
        yield "POST", chat, [*credential, ("Content-Type", "application/json")], raw.encode()
        yield "POST", "/api/cache/get", [*key, ("Content-Type", "application/json")], raw.encode()
    for script in ({"status": 500}, {"status": 429}, {"status": 401}, {"wire": "garbage"}, {"rst_after_bytes": 20},
                   {"wire": "not-json"}, {"wire": "gzip-error"}, {"text": ANSWER}, {"error_after": 1},
                   {"rst_after_chunks": 2}, {"bad_tool_json": True, "text": ANSWER}):  # fmt: skip
        headers = [*credential, ("X-Fake-Script", json.dumps(script))]
        yield "POST", chat, headers, asked | {"seed": len(json.dumps(script))}
        yield "POST", chat, headers, asked | {"seed": len(json.dumps(script)), "stream": True}
    # Credentials where they do not belong.
    for other in (
        [("Authorization", f"Bearer {CREDENTIALS['stolen']}")], [("X-API-Key", CREDENTIALS["stolen"])],
        [("Authorization", f"Basic {CREDENTIALS['basic']}")], [("Cookie", f"s={CREDENTIALS['cookie']}")],
        [("Proxy-Authorization", f"Bearer {CREDENTIALS['proxy']}")],
        [("X-AgentCache-Key", server.key() + "x")], [("X-AgentCache-Key", CREDENTIALS["stolen"])],
        [("X-AgentCache-Key", server.key()), ("Authorization", f"Bearer {server.other}")],
        [("X-AgentCache-Key", server.key()), ("X-Provider-Key", "a b " + CREDENTIALS["stolen"])],
        [("X-Provider-Key", CREDENTIALS["stolen"]), *credential], [("X-AgentCache-Key", server.other)],
    ):  # fmt: skip
        yield "POST", chat, other, asked
        yield "GET", "/api/cache/stats", other, b""
        yield "GET", "/metrics", other, b""
    for where in (f"?key={server.key()}", f"?q={PROMPT}", f"?api_key={CREDENTIALS['stolen']}"):
        yield "GET", "/openai/v1/models" + where, credential, b""
        yield "GET", "/api/cache/entries" + where, key, b""
        yield "GET", "/nowhere" + where, key, b""
    yield "GET", f"/{PROMPT}/{CREDENTIALS['stolen']}", key, b""
    yield "GET", f"/openai/v1/{PROMPT}", credential, b""
    yield "POST", "/admin/login/", [("Cookie", f"s={CREDENTIALS['cookie']}")], {"password": CREDENTIALS["stolen"]}
    yield "POST", "/api/cache/set", key, {"provider": "openai", "prompt": PROMPT, "value": {"a": ANSWER}}
    yield "POST", "/api/cache/set", key, {"provider": "openai", **asked, "value": {"a": ANSWER}, "ttl": PROMPT}
    yield "POST", "/api/cache/explain", key, {"provider": "openai", **asked, "temperature": 1}
    yield "POST", "/api/cache/purge", key, {"tags": [PROMPT], "nonsense": PROMPT}
    yield "POST", "/replicate/v1/predictions", credential, {
        "version": "ab" * 32, "input": {"prompt": PROMPT, "seed": 4}, "webhook": "http://127.0.0.1:9/hook",
    }  # fmt: skip
    yield "POST", "/openai/v1/files", credential, PROMPT.encode() * 50


def search(server, refusals, secrets, folder, *, encrypts):
    """Return every secret found in errors, usage and files, and what else of a caller's words must not be there."""
    everything = [PROMPT, ANSWER, *secrets]
    findings = []
    for method, target, answer in refusals:
        # Errors of ours may quote a member's or a model's name back to who sent it; never a credential.
        findings += scan_text(answer.everything, secrets, f"error of {method} {target}")
    assert len(server.events) > 100
    for event in server.events:
        # The model is what the caller called it; it is the one text of the caller's that usage shows.
        shown = json.dumps([getattr(event, name) for name in event.__struct_fields__ if name != "model"])
        findings += scan_text(shown, everything, f"usage of {event.endpoint}")
    for path in sorted(folder.rglob("*")):
        findings += scan_text(str(path.relative_to(folder)), everything, "file name")
        if not path.is_file():
            continue
        looked_for = secrets if path.name in CACHE_FILES and not encrypts else everything
        if path.name.startswith("app.db"):
            looked_for = [ANSWER, *secrets]  # a model was called `no-such-zqxprompt`
        findings += scan_text(path.read_bytes(), looked_for, str(path.relative_to(folder)))
    return findings


#: Where entries are encrypted the cache's files are looked into as well; all else is the same.
@pytest.mark.parametrize(
    "encrypts", [pytest.param(False, id="plain", marks=before_release), pytest.param(True, id="encrypted")]
)
async def test_nothing_secret_is_left_behind(tmp_path, provider, encrypts):
    provider.script(times=None, text=f"{ANSWER} canary", when=lambda call: "x-fake-script" not in call.headers)
    settings = {**every_upstream(provider), "AGENTCACHE_LOG_LEVEL": "debug", "AGENTCACHE_BODY_MAX_BYTES": "1MiB"}
    settings |= {"AGENTCACHE_ENCRYPT_ENTRIES": "on"} if encrypts else {}
    server = FullGateway(tmp_path / "data", provider, workers=1, **settings)
    refusals, answered = [], 0
    with server:
        server.other = new_api_key()  # well-formed, and nobody's
        admin = server.create_key("--scope", "admin", "--name", "operator")
        async with RawClient(server.url) as client:
            for method, target, headers, body in requests(server):
                try:
                    answer = await client.request(method, target, headers, body)
                except (ConnectionError, ValueError):
                    continue
                answered += 1
                ours = answer.header("x-agentcache-error") or "problem+json" in answer.header("content-type")
                if ours:
                    refusals.append((method, target, answer))
            metrics = await client.request("GET", "/metrics", [("X-AgentCache-Key", admin)])
            assert metrics.status == 200, metrics.body
        wait_until(lambda: len(server.events) > answered / 2, what="usage events")
        # A crash: what the process says, and what it leaves in its files. No process may leave a core file.
        supervisor = psutil.Process(server.server.process.pid)
        processes = [supervisor, *supervisor.children(recursive=True)]
        assert {process.rlimit(psutil.RLIMIT_CORE) for process in processes} == {(0, 0)}
        assert len(processes) >= 3
        for child in supervisor.children():
            if "agentcache.supervisor.server" in " ".join(child.cmdline()):
                os.kill(child.pid, signal.SIGABRT)
        with contextlib.suppress(TimeoutError):
            wait_until(lambda: "ended" in server.server.output, 5)
        keys = [server.key(), server.key("globex"), server.other, admin]
    assert answered > 150
    assert len(refusals) > 30

    everything = [PROMPT, ANSWER, *CREDENTIALS.values(), *keys]
    output = server.server.output.replace(server.server.key, "")  # shown once, on the first start, on purpose
    findings = [*scan_text(output, everything, "log"), *scan_text(metrics.body, everything, "metrics")]
    findings += search(server, refusals, [*CREDENTIALS.values(), *keys], tmp_path / "data", encrypts=encrypts)
    assert not findings, "\n".join(map(str, findings[:20]))
    # The scanner finds what is there: a model's name that holds the prompt, in the records of usage.
    assert list(scan_folder(tmp_path / "data", [PROMPT])), "nothing is found where something is, so nothing was proved"
    if not encrypts:
        assert list(scan_folder(tmp_path / "data", [ANSWER])), "the cache holds no answer, so nothing was proved"
    record(
        f"T12 {'encrypted' if encrypts else 'plain'}", requests=answered, refusals=len(refusals), canaries=len(everything),
        hits=0, log_bytes=len(output),
    )  # fmt: skip
