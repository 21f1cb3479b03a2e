"""The database goes away and comes back under a running server."""

import pytest
from django.db import OperationalError, connection
from django.test import Client

from agentcache.accounts.session_store import SessionStore
from agentcache.analytics.ingest import UsageIngest
from agentcache.analytics.models import UsageEvent as UsageRow
from agentcache.gateway.ports import UsageEvent
from agentcache.gateway.usage_spool import UsageSpool, spool_dir
from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import SystemClock
from agentcache.kit.errors import Unavailable
from agentcache.settings import Settings
from agentcache.teams import services
from agentcache.teams.directory import DjangoDirectory
from agentcache.teams.secrets import ServerSecrets
from agentcache.web.schema import migrate
from tests.support.django_project import use_settings
from tests.support.postgres_server import PostgresServer


def backend_pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def end_other_backends():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        )


async def test_a_connection_that_the_server_closed_is_replaced(postgresql_project):
    threads, others = (
        DatabaseThreads(threads=1, answer_within_seconds=60),
        DatabaseThreads(threads=1, answer_within_seconds=60),
    )
    first = await threads.run(backend_pid)
    assert await threads.run(backend_pid) == first
    await others.run(end_other_backends)
    assert await threads.run(backend_pid) != first
    threads.close()
    others.close()


async def test_keys_and_usage_work_again_after_the_database_was_killed(tmp_path):
    # Commits wait for the log, as they do outside of tests: the kill must lose none.
    with PostgresServer(synchronous_commit="on") as server:
        settings = Settings.from_env(
            {"AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache"), "AGENTCACHE_DATABASE_URL": server.create_database()}
        )
        with use_settings(settings):
            threads = DatabaseThreads(answer_within_seconds=60)
            await threads.run(migrate, within_seconds=60)
            secrets = ServerSecrets.of(settings)
            first = await threads.run(lambda: services.ensure_local_team(secrets))
            directory = DjangoDirectory(settings, secrets, threads)
            spool = UsageSpool(spool_dir(settings.data_dir), SystemClock())
            ingest = UsageIngest(spool_dir(settings.data_dir), settings.run_dir, threads)
            event = UsageEvent(
                id="req_1", at_ms=1, tenant_id=first.team_id, api_key_id=first.api_key_id, dialect="openai",
                endpoint="chat.completions", model="m", namespace="default", outcome="exact", status=200,
            )  # fmt: skip
            assert await directory.find_principal(first.api_key) is not None
            server.kill()
            with pytest.raises(Unavailable):
                await directory.find_principal(first.api_key)
            await spool.write([event])
            with pytest.raises(Unavailable):
                await ingest.take_all()
            server.resume()
            principal = await directory.find_principal(first.api_key)
            assert principal.api_key_id == first.api_key_id
            assert await ingest.take_all() == 1
            assert await threads.run(UsageRow.objects.count) == 1
            threads.close()


@pytest.mark.parametrize("path", ["/api/account/me", "/settings/profile"])
def test_a_database_that_cannot_be_had_is_a_503_and_not_a_fault(sqlite_project, monkeypatch, path):
    def away(*_given, **_options):
        raise OperationalError("database is locked")

    client = Client(HTTP_HOST="127.0.0.1:8787", raise_request_exception=False)
    client.cookies["agentcache_session"] = "whatever"
    monkeypatch.setattr(SessionStore, "load", away)
    answer = client.get(path)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert b"locked" not in answer.content
    monkeypatch.setattr(SessionStore, "load", lambda *_given: 1 / 0)
    assert client.get(path).status_code == 500
