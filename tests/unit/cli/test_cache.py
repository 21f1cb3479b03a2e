import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from typer.testing import CliRunner

from agentcache.cli.app import app
from agentcache.cli.exit_codes import ExitCode

CACHE_KEY = "ab" * 32


class Server(ThreadingHTTPServer):
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []
        self.answers = {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def serve(self):
        length = int(self.headers.get("Content-Length", 0))
        document = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, document, self.headers.get("X-AgentCache-Key")))
        answer = self.server.answers[f"{self.command} {urlsplit(self.path).path}"]
        status, reply = answer
        body = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = serve  # noqa: N815 - names that http.server calls

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AGENTCACHE_BASE_URL", server.url)
        monkeypatch.setenv("AGENTCACHE_API_KEY", "ac_test_key")
        yield server
        server.shutdown()
        thread.join()


def run(*arguments, **options):
    return CliRunner().invoke(app, ["cache", *arguments], **options)


def test_get_prints_the_value_of_a_hit(server):
    server.answers["POST /api/cache/get"] = (200, {"hit": True, "value": "Hello!"})
    outcome = run("get", "--model", "gpt-5-mini", "--prompt", "Say hello", "--namespace", "eval")
    assert (outcome.exit_code, outcome.stdout) == (0, "Hello!\n")
    document = {"provider": "openai", "model": "gpt-5-mini", "prompt": "Say hello", "namespace": "eval"}
    assert server.asked == [("POST", "/api/cache/get", document, "ac_test_key")]


def test_get_ends_with_its_own_exit_code_on_a_miss(server):
    server.answers["POST /api/cache/get"] = (200, {"hit": False})
    outcome = run("get", "--model", "m", "--prompt", "p", "--json")
    assert outcome.exit_code == ExitCode.NOT_FOUND
    assert json.loads(outcome.stdout) == {"hit": False}


def test_get_takes_a_key_or_a_whole_request(server, tmp_path):
    server.answers["GET /api/cache/get"] = (200, {"hit": True, "value": {"choices": []}})
    server.answers["POST /api/cache/get"] = (200, {"hit": True, "value": 1})
    assert json.loads(run("get", CACHE_KEY).stdout) == {"choices": []}
    request = {"model": "m", "messages": []}
    run("get", "--provider", "anthropic", "--request", "-", input=json.dumps(request))
    assert server.asked[0][1] == f"/api/cache/get?key={CACHE_KEY}"
    assert server.asked[1][2] == {"provider": "anthropic", "request": request}


def test_set_sends_value_lifetime_and_tags(server):
    server.answers["POST /api/cache/set"] = (200, {"key": CACHE_KEY})
    outcome = run("set", "--model", "m", "--prompt", "p", "--value", "v", "--ttl", "60", "--tag", "a", "--tag", "b")
    assert outcome.stdout == f"Stored as {CACHE_KEY}.\n"
    expected = {"provider": "openai", "model": "m", "prompt": "p", "value": "v", "ttl": 60, "tags": ["a", "b"]}
    assert server.asked[0][2] == expected


def test_purge_says_which_entries_are_meant(server):
    server.answers["POST /api/cache/purge"] = (200, {"invalidated": 3, "dry_run": False})
    outcome = run("purge", "--tag", "docs", "--tag", "faq", "--namespace", "eval", "--yes", "--json")
    assert json.loads(outcome.stdout) == {"matched": 3, "deleted": 3}
    assert run("purge", CACHE_KEY).stdout == "3 entries deleted.\n"
    run("purge", "--all", "--yes")
    expected = [{"namespace": "eval", "tags": ["docs", "faq"]}, {"keys": [CACHE_KEY]}, {"all": True}]
    assert [document for _, _, document, _ in server.asked] == expected


def test_purge_asks_before_it_deletes_and_a_dry_run_deletes_nothing(server):
    server.answers["POST /api/cache/purge"] = (200, {"invalidated": 1, "dry_run": True})
    assert run("purge", "--all", input="n\n").exit_code == ExitCode.FAILED
    assert run("purge", "--all", "--dry-run").stdout == "1 entries would be deleted.\n"
    assert json.loads(run("purge", "--all", "--dry-run", "--json").stdout) == {"matched": 1, "deleted": 0}
    assert [document for _, _, document, _ in server.asked] == [{"all": True, "dry_run": True}] * 3
    run("purge", "--all", input="y\n")
    assert server.asked[-1][2] == {"all": True}


def test_stats_are_flat_for_people_and_whole_for_programs(server):
    stats = {"entries": 3, "namespaces": {"default": 2, "eval": 1}}
    server.answers["GET /api/cache/stats"] = (200, stats)
    assert json.loads(run("stats", "--json").stdout) == stats
    assert "namespaces.eval" in run("stats").stdout


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, ExitCode.REFUSED),
        (403, ExitCode.REFUSED),
        (404, ExitCode.NOT_FOUND),
        (422, ExitCode.FAILED),
        (503, ExitCode.FAILED),
    ],
)
def test_a_refusal_is_one_line_with_an_exit_code(server, status, code):
    server.answers["GET /api/cache/stats"] = (status, {"title": "No", "detail": "This key may not do that."})
    outcome = run("stats")
    assert outcome.exit_code == code
    assert outcome.stderr == "error: This key may not do that.\n"


def test_no_server_is_one_line_with_a_way_out(monkeypatch, server):
    monkeypatch.setenv("AGENTCACHE_BASE_URL", "http://127.0.0.1:1")
    outcome = run("stats")
    assert outcome.exit_code == ExitCode.UNREACHABLE
    assert "No AgentCache server answers at http://127.0.0.1:1" in outcome.stderr
    assert "make serve" in outcome.stderr


def test_no_key_is_one_line_with_a_way_out(monkeypatch):
    monkeypatch.delenv("AGENTCACHE_API_KEY", raising=False)
    outcome = run("stats")
    assert outcome.exit_code == ExitCode.REFUSED
    assert "agentcache keys create" in outcome.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["get", "--prompt", "p"],
        ["get", "--model", "m", "--prompt", "p", "--request", "-"],
        ["get", "--request", "/nowhere.json"],
        ["set", "--model", "m", "--prompt", "p"],
        ["purge"],
        ["purge", "--all", "--tag", "docs"],
        ["purge", CACHE_KEY, "--all"],
    ],
    ids=" ".join,
)
def test_a_command_line_that_says_too_little_or_too_much(server, arguments):
    assert run(*arguments).exit_code == ExitCode.USAGE
    assert server.asked == []


PREVIEW = {
    "invalidated": 3, "namespaces": ["eval", "prod"], "estimatedCostImpact": 1.5, "dry_run": True,
    "preview": {"hits_last_7_days": 40, "saved_last_7_days_usd": 12.25, "hits_since": "2026-11-20T10:00:00Z",
                "hits_complete": True},
}  # fmt: skip
DONE = {"invalidated": 3, "namespaces": ["prod"], "estimatedCostImpact": 1.5, "dry_run": False, "recorded": True}


def test_invalidate_shows_what_it_means_and_asks_first(server):
    server.answers["POST /api/cache/invalidate"] = (200, PREVIEW)
    outcome = run("invalidate", "--tag", "prices", "--source", "https://example.com/", input="n\n")
    assert outcome.exit_code != 0
    for said in ("3 entries would be removed", "in eval, prod", "$1.50", "40 hits since 2026-11-20", "$12.25"):
        assert said in outcome.stderr, said
    asked = {"tags": ["prices"], "url": "https://example.com/", "dry_run": True}
    assert [document for _, _, document, _ in server.asked] == [asked]


def test_invalidate_sends_every_criterion(server):
    server.answers["POST /api/cache/invalidate"] = (200, DONE)
    outcome = run(
        "invalidate", CACHE_KEY, "--tag", "a", "--tag", "b", "--source", "https://example.com/", "--namespace", "prod",
        "--pattern", "prod/*", "--model", "gpt-5-mini", "--provider", "openai", "--older-than", "60", "--soft",
        "--reason", "New prices", "--no-notify", "--yes",
    )  # fmt: skip
    assert (outcome.exit_code, outcome.stdout) == (0, "3 entries marked stale.\n")
    ((_, _, document, _),) = server.asked
    assert document == {
        "keys": [CACHE_KEY], "tags": ["a", "b"], "url": "https://example.com/", "namespace": "prod",
        "pattern": "prod/*", "model": "gpt-5-mini", "provider": "openai", "older_than": 60, "soft": True,
        "reason": "New prices", "notify": False,
    }  # fmt: skip


def test_a_dry_run_changes_nothing_and_prints_json_on_demand(server):
    server.answers["POST /api/cache/invalidate"] = (200, PREVIEW)
    assert run("invalidate", "--older-than", "12h", "--dry-run").stdout.startswith("3 entries would be removed")
    shown = run("invalidate", "--older-than", "12h", "--soft", "--dry-run", "--json")
    assert json.loads(shown.stdout) == PREVIEW
    assert [document for _, _, document, _ in server.asked] == [
        {"older_than": "12h", "dry_run": True}, {"older_than": "12h", "soft": True, "dry_run": True}
    ]  # fmt: skip


def test_invalidate_needs_a_criterion_and_tells_when_nothing_was_written_down(server):
    assert run("invalidate", "--soft", "--yes").exit_code == ExitCode.USAGE
    assert server.asked == []
    server.answers["POST /api/cache/invalidate"] = (200, {**DONE, "recorded": False})
    assert "audit log could not be told" in run("invalidate", "--model", "gpt-5", "--yes").stderr
