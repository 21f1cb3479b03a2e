"""`agentcache serve` as a newcomer and an operator use it."""

import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from agentcache.cli.app import app
from agentcache.demo.fake_provider.server import FakeProvider
from agentcache.settings import Settings
from tests.support.django_project import use_settings
from tests.support.guarded import is_running, wait_until
from tests.support.migrated_records import put_into
from tests.support.server_process import ServerProcess

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)

QUESTION = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Which port does the server listen on?"}]}


@pytest.fixture(scope="module")
def provider():
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def upstream(provider):
    return {"AGENTCACHE_UPSTREAM_OPENAI": f"{provider.url}/openai/v1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory, upstream):
    # A busy machine may take longer for a look-up than its budget, which would then be a miss.
    settings = {**upstream, "AGENTCACHE_STORE_BUDGET_MS": "10000"}
    with ServerProcess(tmp_path_factory.mktemp("installation") / "data", "--workers", "2", **settings) as server:
        yield server


@pytest.fixture
def keys(server, monkeypatch):
    """Run a `keys` command on the server's records, in this process: one of its own takes a second to begin."""
    for name, text in server.environ.items():
        if name.startswith("AGENTCACHE_"):
            monkeypatch.setenv(name, text)
    with use_settings(Settings.load()):
        yield lambda *arguments: CliRunner().invoke(app, ["keys", *arguments])


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about")


def children(server, module):
    """Return the processes of one kind below the supervisor."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        try:
            if module in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue
    return found


def ask(server, **options):
    headers = {"Authorization": f"Bearer {server.key}", "X-Provider-Key": "sk-test"}
    return httpx.post(f"{server.url}/v1/chat/completions", json=QUESTION, headers=headers, timeout=60, **options)


def test_the_first_start_shows_a_key_and_what_to_paste(server):
    assert server.output.count("shown this once") == 1
    for pasted in ("/api/cache/set", "/api/cache/get", "/v1/chat/completions", "X-Provider-Key"):
        assert f"{pasted}" in server.output
    assert server.url in server.output


def test_what_the_first_start_says_to_paste_works_as_it_stands(server):
    script = server.output.split("and get it back:")[1].split("Or change one base URL")[0]
    finished = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    answers = [json.loads(found) for found in finished.stdout.replace("}{", "}\n{").splitlines()]
    assert answers[-1]["hit"] is True, finished
    assert answers[-1]["value"] == "Hello!"


def test_it_is_alive_and_ready(server):
    assert httpx.get(f"{server.url}/healthz").status_code == 200
    assert httpx.get(f"{server.url}/readyz").status_code == 200


def test_the_second_identical_call_is_a_hit_whichever_worker_answers(server):
    first = ask(server)
    assert first.status_code == 200, first.text
    assert all("hit" in ask(server).headers["cache-status"] for _ in range(8))


def test_keys_are_created_listed_and_revoked(server, keys):
    created = json.loads(server.run("keys", "create", "--name", "CI", "--scope", "stats:read", "--json").stdout)
    assert created["key"].startswith("ac_live_")
    assert (created["name"], created["team"], created["scopes"]) == ("CI", "local", ["stats:read"])
    stats = {"headers": {"X-AgentCache-Key": created["key"]}}
    assert httpx.get(f"{server.url}/api/cache/stats", **stats).status_code == 200
    listed = json.loads(keys("list", "--json").stdout)["keys"]
    assert [row["state"] for row in listed if row["id"] == created["id"]] == ["live"]
    assert created["key"] not in json.dumps(listed)
    assert keys("revoke", created["id"]).exit_code == 0
    listed = json.loads(keys("list", "--json").stdout)["keys"]
    assert [row["state"] for row in listed if row["id"] == created["id"]] == ["revoked"]


def test_a_key_is_bound_to_networks_and_a_day_and_listed_with_all_that_is_no_secret(server, keys):
    given = ("--ip", "192.0.2.0/24", "--ip", "2001:db8::1", "--expires", "2030-01-31")
    created = json.loads(keys("create", "--name", "Bound", *given, "--json").stdout)
    assert created["allowed_networks"] == ["192.0.2.0/24", "2001:db8::1/128"]
    assert created["expires_at"].startswith("2030-01-31T00:00:00")
    refused = httpx.get(f"{server.url}/api/cache/stats", headers={"X-AgentCache-Key": created["key"]})
    assert refused.json()["code"] == "address_not_allowed"
    text = keys("list", "--json").stdout
    [row] = [row for row in json.loads(text)["keys"] if row["id"] == created["id"]]
    # It was used in between.
    assert {name: created[name] for name in row} | {"last_used_at": row["last_used_at"]} == row
    assert set(row) == {
        "id", "name", "team", "team_id", "display", "scopes", "namespace", "allowed_networks", "is_test", "is_shared",
        "state", "created_at", "created_by", "created_by_key", "expires_at", "rotated_at", "revoked_at",
        "revoked_because", "last_used_at", "former",
    }  # fmt: skip
    assert created["key"] not in text


def test_a_key_is_rotated_with_an_overlap_or_at_once(server, keys):
    def status(key):
        return httpx.get(f"{server.url}/api/cache/stats", headers={"X-AgentCache-Key": key}).status_code

    first = json.loads(keys("create", "--name", "Turning", "--json").stdout)
    second = json.loads(keys("rotate", first["id"], "--overlap", "2h", "--json").stdout)
    assert (second["id"], second["state"], len(second["former"])) == (first["id"], "rotating", 1)
    assert second["former"][0]["display"] == first["display"]
    assert (status(first["key"]), status(second["key"])) == (200, 200)
    said = keys("rotate", first["id"], "--now").stdout
    assert "the former value ends now" in said
    third = re.search(r"ac_live_\w+", said)
    assert third is not None
    wait_until(lambda: (status(first["key"]), status(second["key"])) == (401, 401), what="former values to be refused")
    assert status(third[0]) == 200
    usual = json.loads(keys("rotate", first["id"], "--json").stdout)
    until = datetime.fromisoformat(usual["former"][0]["ends_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < until <= timedelta(hours=24)


def test_keys_say_what_is_wrong(keys):
    unknown = keys("revoke", "0" * 32)
    assert (unknown.exit_code, len(unknown.stderr.splitlines())) == (6, 1)
    nobody = keys("list", "--team", "nobody")
    assert nobody.exit_code == 6
    assert "local" in nobody.stderr
    assert keys("create", "--scope", "everything").exit_code == 2
    assert keys("create", "--expires-in", "soon").exit_code == 2
    assert keys("create", "--expires", "2001-01-01").exit_code != 0
    wrong = keys("create", "--ip", "10.0.0.7/8")
    assert (wrong.exit_code != 0, len(wrong.stderr.splitlines())) == (True, 1)
    assert keys("rotate", "0" * 32, "--now", "--overlap", "1h").exit_code == 2
    assert keys("rotate", "0" * 32).exit_code == 6


def test_the_cache_is_read_written_and_cleared(server):
    request = ("--model", "gpt-5-mini", "--prompt", "Count to three", "--namespace", "cli")
    assert server.run("cache", "get", *request).returncode == 6
    stored = json.loads(server.run("cache", "set", *request, "--value", "1 2 3", "--tag", "numbers", "--json").stdout)
    assert server.run("cache", "get", *request).stdout == "1 2 3\n"
    assert server.run("cache", "get", stored["key"], "--json").returncode == 0
    stats = json.loads(server.run("cache", "stats", "--json").stdout)
    assert stats["entries"] >= 1
    purged = server.run("cache", "purge", "--namespace", "cli", "--yes", "--json")
    assert json.loads(purged.stdout) == {"matched": 1, "deleted": 1}
    assert server.run("cache", "get", *request).returncode == 6


def test_doctor_finds_nothing_wrong_with_a_running_server(server):
    port = server.url.rsplit(":", 1)[1]
    server.environ["AGENTCACHE_PORT"] = port
    finished = server.run("doctor", "--json")
    report = json.loads(finished.stdout)
    wrong = [finding for finding in report["findings"] if finding["verdict"] == "fail"]
    assert (finished.returncode, wrong) == (0, [])
    found = {finding["check"]: finding["found"] for finding in report["findings"]}
    assert "in use by this server" in found["port"]
    assert "up to date" in found["database"]


def test_a_server_process_that_is_killed_comes_back_and_nobody_is_refused(server):
    victim = children(server, "supervisor.server")[0]
    victim.kill()
    refused = 0
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            ask(server)
        except httpx.ConnectError:
            refused += 1
        time.sleep(0.02)
    until(lambda: len(children(server, "supervisor.server")) == 2)
    assert refused == 0
    assert "is started again" in server.output


def test_a_job_worker_that_is_killed_comes_back(server):
    victim = until(lambda: children(server, "supervisor.worker"))[0]
    # It migrated, and began anew after that: nothing of it is left in its memory.
    assert "--prepare" not in victim.cmdline()
    victim.kill()
    until(lambda: [child for child in children(server, "supervisor.worker") if child.pid != victim.pid])


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_one_more_job_worker_runs_beside_the_server_and_stops_cleanly(server, signum):
    command = [sys.executable, "-m", "agentcache", "worker"]
    with subprocess.Popen(command, env=server.environ, stderr=subprocess.PIPE, text=True) as worker:
        # It has opened the store once the store's file is among its open files.
        until(lambda: any("cache.db" in file.path for file in psutil.Process(worker.pid).open_files()))
        worker.send_signal(signum)
        _, said = worker.communicate(timeout=60)
    assert worker.returncode == 0, said
    assert "Traceback" not in said


def test_it_stops_cleanly_and_a_second_start_makes_no_second_key(tmp_path, upstream):
    put_into(tmp_path / "data")
    with ServerProcess(tmp_path / "data", **upstream) as first:
        key = first.key
        assert ask(first).status_code == 200
        processes = psutil.Process(first.process.pid).children(recursive=True)
        # As Ctrl-C does; SIGTERM is for `tests/faults/test_graceful_stop.py`.
        assert first.stop(signal.SIGINT) == 0
        assert first.output.rstrip().endswith("AgentCache has stopped.")
        assert "Traceback" not in first.output
        assert not [process for process in processes if process.is_running()]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{first.url}/healthz")
    with socket.create_server(("127.0.0.1", 0)) as free:
        metrics_port = free.getsockname()[1]
    with ServerProcess(tmp_path / "data", **upstream, AGENTCACHE_METRICS_PORT=str(metrics_port)) as second:
        assert "shown this once" not in second.output
        second.key = key
        assert "hit" in ask(second).headers["cache-status"]
        scraped = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics")
        assert scraped.status_code == 200
        assert "# TYPE agentcache_" in scraped.text
        no_process_outlives_a_supervisor_that_is_killed(second)


@pytest.mark.parametrize("how", ["asked once", "asked twice", "killed"])
def test_a_start_that_is_stopped_while_it_prepares_leaves_no_process_and_loses_no_key(tmp_path, how):
    data = tmp_path / "data"
    put_into(data)
    (data / "run").mkdir()
    start = ServerProcess(data)
    command = [sys.executable, "-m", "agentcache", "serve", "--port", "0"]
    with (
        (data / "run/migrate.lock").open("w") as lock,
        subprocess.Popen(command, env=start.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as it,
    ):
        fcntl.flock(lock, fcntl.LOCK_EX)
        start.process = it
        [worker] = until(lambda: children(start, "supervisor.worker"))
        if how == "killed":
            # There it waits for us.
            until(lambda: any("migrate.lock" in file.path for file in worker.open_files()))
            it.kill()
        else:
            it.send_signal(signal.SIGINT)
        if how == "asked once":
            fcntl.flock(lock, fcntl.LOCK_UN)
        elif how == "asked twice":
            it.send_signal(signal.SIGTERM)  # another one, for two of the same at once are one
        said, _ = it.communicate(timeout=60)
        until(lambda: not is_running(worker.pid))
    assert it.returncode == (-signal.SIGKILL if how == "killed" else 0), said
    assert said.count("shown this once") == (how == "asked once")
    assert ("AgentCache has stopped." in said) == (how != "killed")
    assert "Traceback" not in said


def no_process_outlives_a_supervisor_that_is_killed(server):
    processes = psutil.Process(server.process.pid).children(recursive=True)
    assert len(processes) == 2
    # It prepared and went on.
    assert "--prepare" in children(server, "supervisor.worker")[0].cmdline()
    os.kill(server.process.pid, signal.SIGKILL)
    until(lambda: not any(is_running(process.pid) for process in processes))
