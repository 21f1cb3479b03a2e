from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.asgi_server import ASGIProcess, ASGIServer
from tests.support.guarded import GuardedProcess, free_port, is_running, wait_until
from tests.support.leaks import Resources, foreign_canaries, scan_folder, scan_text
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import find_redis


class Recorder:
    """An ASGI app that answers with the path and notes its lifespan."""

    def __init__(self, fails=False):
        self.fails, self.life = fails, []

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                self.life.append(message["type"])
                if self.fails:
                    await send({"type": "lifespan.startup.failed", "message": "no"})
                    return
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = f"{scope['path']} {asyncio.get_running_loop().__class__.__module__}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


app = Recorder()


class TestASGI:
    def test_serves_on_uvloop_and_stops(self):
        recorder = Recorder()
        with ASGIServer(recorder) as server:
            assert httpx2.get(f"{server.url}/here").text == "/here uvloop"
        assert recorder.life == ["lifespan.startup", "lifespan.shutdown"]
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(server.url)

    def test_a_failed_start_is_an_error(self):
        with pytest.raises(RuntimeError, match="did not start"):
            ASGIServer(Recorder(fails=True), lifespan="on").start()

    def test_processes(self):
        with ASGIProcess(
            "tests.unit.support.test_servers:app", environ={"PYTHONPATH": os.pathsep.join(sys.path)}
        ) as server:
            assert httpx2.get(f"{server.url}/there").text.startswith("/there")
            server.terminate()
            assert "Finished server process" in server.log()


class TestRedis:
    def test_shared_database_is_empty_each_time(self, redis_url):
        with redis.Redis.from_url(redis_url, protocol=2) as connection:
            assert connection.dbsize() == 0
            connection.set("a", "b")

    test_and_again = test_shared_database_is_empty_each_time

    def test_kill_and_restart(self, redis_server):
        redis_server.command("SET", "a", "b")
        redis_server.kill()
        with pytest.raises(redis.ConnectionError):
            redis_server.command("PING")
        redis_server.start()
        assert redis_server.command("GET", "a") is None

    def test_freeze_and_thaw(self, redis_server):
        with redis.Redis(
            port=redis_server.port, socket_timeout=0.1, protocol=2, retry=Retry(NoBackoff(), 0)
        ) as connection:
            connection.ping()
            redis_server.freeze()
            with pytest.raises(redis.TimeoutError):
                connection.ping()
            redis_server.thaw()
            wait_until(lambda: redis_server.command("PING") in (True, b"PONG"))

    def test_cluster_spreads_keys(self, redis_cluster):
        with redis.RedisCluster.from_url(redis_cluster.url, protocol=2) as connection:
            for number in range(60):
                connection.set(f"key-{number}", number)
            assert connection.get("key-7") == b"7"
        assert all(node.command("DBSIZE") > 0 for node in redis_cluster.nodes)

    def test_finds_a_server(self):
        assert "server" in Path(find_redis()).name


class TestPostgres:
    def test_session_database(self, postgres_url):
        with psycopg.connect(postgres_url) as connection:
            assert connection.execute("SELECT 1 + 1").fetchone() == (2,)

    def test_own_databases_survive_a_kill(self):
        with PostgresServer(fsync="on") as server:
            first, second = server.create_database(), server.create_database()
            with psycopg.connect(first, autocommit=True) as connection:
                connection.execute("CREATE TABLE t AS SELECT 7 AS n")
                connection.execute("CHECKPOINT")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(first)
            server.resume()
            with psycopg.connect(first) as connection:
                assert connection.execute("SELECT n FROM t").fetchone() == (7,)
            with psycopg.connect(second) as connection, pytest.raises(psycopg.errors.UndefinedTable):
                connection.execute("SELECT n FROM t")


class TestGuardedProcess:
    def test_dies_with_the_test_process(self, tmp_path):
        program = (
            "import os, pathlib, sys; from tests.support.guarded import GuardedProcess\n"
            "process = GuardedProcess(['sleep', '60'], log=pathlib.Path(sys.argv[1]))\n"
            "print(process.pid, flush=True); os.kill(os.getpid(), 9)"
        )
        command = [sys.executable, "-c", program, str(tmp_path / "log")]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        pid = int(ran.stdout)
        wait_until(lambda: not is_running(pid))
        assert ran.returncode == -signal.SIGKILL

    def test_keeps_the_output(self, tmp_path):
        process = GuardedProcess(["sh", "-c", "echo said; exec sleep 60"], log=tmp_path / "log", ending="TERM")
        wait_until(lambda: (tmp_path / "log").read_text() == "said\n")
        assert process.is_running
        process.stop()
        assert not process.is_running
        process.stop()

    def test_free_ports(self):
        assert free_port() != free_port(also_plus=10_000) < 55_536


class TestLeaks:
    def test_counts_what_is_held(self, tmp_path):
        before = Resources.now()
        with (tmp_path / "file").open("w"):
            assert Resources.now().growth(before).fds == 1
        assert Resources.now().growth(before).fds == 0

    async def test_counts_tasks(self):
        loop = asyncio.get_running_loop()
        before = Resources.now(loop)
        task = asyncio.create_task(asyncio.sleep(60))
        assert Resources.now(loop).growth(before).tasks == 1
        task.cancel()

    def test_finds_secrets_in_files(self, tmp_path):
        (tmp_path / "log").write_text("all quiet\nkey=sk-secret-1\n")
        (tmp_path / "db").write_bytes(b"\0\0" + "sk-secret-2".encode("utf-16-le"))
        found = {(finding.place, finding.canary) for finding in scan_folder(tmp_path, ["sk-secret-1", "sk-secret-2"])}
        assert found == {("log", "sk-secret-1"), ("db", "sk-secret-2")}
        assert list(scan_text("nothing here", ["sk-secret-1"])) == []

    def test_finds_foreign_tenants(self):
        text = "hello canary:ten, hello canary:acme2"
        assert foreign_canaries(text, "ten", ["ten", "acme", "acme2"]) == ["acme2"]
        assert foreign_canaries("canary:te", "x", ["ten"]) == []
