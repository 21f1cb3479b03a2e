"""The command line where the records are in PostgreSQL and the entries in Redis."""

import json
import os
import subprocess
import sys
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import httpx
import psycopg
import pytest

from tests.support.server_process import ServerProcess

#: Processes begin and end here, which a busy machine is slow at.
pytestmark = pytest.mark.timeout(360)


@pytest.fixture
def database_url(postgres_url):
    """An empty database of the test's own."""
    name = f"cli_{uuid4().hex}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    parts = urlsplit(postgres_url)
    yield urlunsplit(parts._replace(path=f"/{name}"))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def at_scale(database_url, redis_url):
    # A busy machine may take longer for a look-up than its budget, which would then be a miss.
    budget = {"AGENTCACHE_STORE_BUDGET_MS": "10000"}
    return {"AGENTCACHE_DATABASE_URL": database_url, "AGENTCACHE_REDIS_URL": redis_url, **budget}


def run(tmp_path, settings, *arguments):
    environ = {name: text for name, text in os.environ.items() if not name.startswith("AGENTCACHE_")}
    environ |= {"AGENTCACHE_DATA_DIR": str(tmp_path / "data"), "AGENTCACHE_PORT": "1", **settings}
    command = [sys.executable, "-m", "agentcache", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=180)


def findings(finished):
    return {finding["check"]: finding for finding in json.loads(finished.stdout)["findings"]}


def test_doctor_warns_of_a_redis_that_evicts_by_itself(tmp_path, redis_server):
    redis_server.command("CONFIG", "SET", "maxmemory", "64mb")
    redis_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    found = findings(run(tmp_path, {"AGENTCACHE_REDIS_URL": redis_server.url}, "doctor", "--json"))
    assert found["entries, memory"]["verdict"] == "warn"
    assert "noeviction" in found["entries, memory"]["mend"]


def test_a_database_that_was_never_migrated_is_migrated_apart_from_serving_and_then_served(tmp_path, at_scale):
    found = findings(run(tmp_path, at_scale, "doctor", "--json"))
    assert found["database"]["verdict"] == "warn"
    assert found["database"]["mend"] == "Run: agentcache migrate"
    assert found["entries"]["verdict"] == "ok"
    assert found["entries"]["found"].startswith(("Redis ", "Valkey "))
    assert "noeviction" in found["entries, memory"]["found"]
    assert not (tmp_path / "data").exists()
    finished = run(tmp_path, at_scale, "keys", "list")
    assert finished.returncode == 3
    assert "agentcache migrate" in finished.stderr
    assert len(finished.stderr.splitlines()) == 1
    planned = json.loads(run(tmp_path, at_scale, "migrate", "--plan", "--json").stdout)["pending"]
    assert "teams.0001_initial" in planned
    assert json.loads(run(tmp_path, at_scale, "migrate", "--json").stdout)["applied"] == planned
    assert run(tmp_path, at_scale, "migrate").stdout == "The database is up to date.\n"
    assert findings(run(tmp_path, at_scale, "doctor", "--json"))["database"]["verdict"] == "ok"
    it_serves(tmp_path, at_scale)


def it_serves(tmp_path, at_scale):
    with ServerProcess(tmp_path / "data", **at_scale) as server:
        assert "PostgreSQL" in server.output
        assert "Redis" in server.output
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        request = ("--model", "gpt-5-mini", "--prompt", "Where are you kept?")
        assert server.run("cache", "set", *request, "--value", "In Redis.").returncode == 0
        assert server.run("cache", "get", *request).stdout == "In Redis.\n"
        assert json.loads(server.run("keys", "list", "--json").stdout)["keys"][0]["name"] == "First key"
    assert not (tmp_path / "data" / "app.db").exists()
    assert not (tmp_path / "data" / "cache.db").exists()
