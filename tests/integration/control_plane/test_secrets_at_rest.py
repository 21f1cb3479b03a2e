"""A15: after people have used everything that is secret, none of it can be read in records, Redis, files and logs.

Mails are left out, for they carry their links by nature: without an SMTP server they lie in `outbox`, with one they do not.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
import redis
from psycopg import sql

from tests.support.accounts_totp import totp
from tests.support.api_person import ApiPerson
from tests.support.browser.site import Site
from tests.support.guarded import wait_until
from tests.support.leaks import Finding, scan_folder, scan_text
from tests.support.migrated_site import prepare
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import ENGINES

pytestmark = pytest.mark.timeout(480)
SERVER_SECRET = "zqx-the-secret-of-this-server-0123456789abcdef"
PROVIDER_KEY = "sk-zqxprovider0123456789abcdefghij"
CLIENT_SECRET = "zqx-client-secret-of-github"


class Secretive(ApiPerson):
    """Somebody whose every secret is remembered."""

    def __init__(self, site: Site, name: str, secrets: dict[str, str]) -> None:
        super().__init__(site, name, password=f"zqx {name} keeps this to themself")
        self.secrets = secrets
        self.keep("password", self.password)

    def keep(self, kind: str, secret: str) -> str:
        """Remember a secret."""
        self.secrets[f"{kind} {len(self.secrets)}"] = secret
        return secret

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request, and remember a new session's token."""
        answer = super().ask(method, path, body, **headers)
        if self.token and self.token not in self.secrets.values():
            self.keep("session", self.token)
        return answer

    def sign_in(self, **more: Any) -> Secretive:
        """Begin a session."""
        super().sign_in(**more)
        self.keep("session", self.token)
        return self

    def token_of(self, subject: str, to: str = "") -> str:
        """Return the token of the link in a mail."""
        link = self.site.mail(to or self.email, subject).link
        return self.keep("link", link.rpartition("token=")[2].rpartition("/")[2])


def use_everything(site: Site, secrets: dict[str, str]) -> None:
    """Do what makes, changes and ends secrets of every kind; some of it wrong."""
    ada, bob = Secretive(site, "ada", secrets), Secretive(site, "bob", secrets)
    for person in (ada, bob):
        person.join()
        person.token_of("confirm")
    ada.ask(
        "POST",
        "/account/login",
        {"email": bob.email, "password": ada.keep("wrong password", "zqx a wrong guess of hers")},
    )
    ada.sign_in()
    seed = ada.keep("seed", ada.do("POST", "/account/totp")["secret"])
    for code in ada.do("POST", "/account/totp/confirm", {"code": totp(seed)})["recovery_codes"]:
        ada.keep("recovery code", code)
    ada.sign_in(code=next(code for kind, code in secrets.items() if kind.startswith("recovery")), keep=True)
    key_id, key = ada.new_key()
    ada.keep("key", key)
    ada.keep("key", ada.do("POST", f"/keys/{key_id}/rotate", {})["api_key"])
    ada.keep("key", ada.do("POST", f"/keys/{key_id}/reset", {})["api_key"])
    key = ada.keep("key", ada.new_key()[1])
    ada.do("POST", f"/teams/{ada.team_id()}/invitations", {"email": bob.email, "role": "member"})
    bob.do("POST", "/teams/invitations/accept", {"token": bob.token_of("invites")})
    ada.do("POST", f"/teams/{ada.team_id()}/invitations", {"email": f"open-{bob.email}", "role": "member"})
    bob.token_of("invites", f"open-{bob.email}")
    bob.do("POST", "/account/email", {"email": f"new-{bob.email}"})
    bob.token_of("confirm", f"new-{bob.email}")
    bob.do("POST", "/account/forgot-password", {"email": bob.email})
    bob.password = bob.keep("password", "zqx bob has another one now")
    bob.do("POST", "/account/reset-password", {"token": bob.token_of("password"), "password": bob.password})
    bob.do("POST", "/account/forgot-password", {"email": bob.email})  # a link that stays open
    bob.sign_in()
    for number in range(6):
        answer = site.call(key, f"prompt {number % 2}", Authorization=f"Bearer {PROVIDER_KEY}")
        assert answer.status_code == 200, answer.text


def values_of_redis(server: RedisServer) -> Iterator[tuple[str, bytes]]:
    with closing(redis.Redis.from_url(server.url)) as client:
        for key in client.scan_iter(count=1000):
            yield f"Redis {key!r}", key
            # Whatever the type, as the server itself writes it down.
            yield f"Redis {key!r}", client.dump(key) or b""
            readers: dict[Any, Any] = {
                b"string": lambda key: [client.get(key)], b"hash": lambda key: [part for pair in client.hgetall(key).items() for part in pair],
                b"set": client.smembers, b"list": lambda key: client.lrange(key, 0, -1), b"zset": lambda key: client.zrange(key, 0, -1),
            }  # fmt: skip
            for value in readers.get(client.type(key), lambda _key: [])(key):
                yield f"Redis {key!r}", value or b""


def values_of_postgresql(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as opened:
        tables = opened.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for row in opened.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
                for value in row:
                    yield f"table {table}", value if isinstance(value, bytes) else str(value).encode()


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_secret_can_be_read_where_things_are_kept(request, tmp_path, engine):
    folder = tmp_path / "site"
    settings = prepare(request, engine, folder)
    (folder / "secret.key").unlink()
    settings |= {
        "AGENTCACHE_SECRET_KEY": SERVER_SECRET, "AGENTCACHE_LOG_LEVEL": "debug",
        "AGENTCACHE_GITHUB_CLIENT_ID": "zqx", "AGENTCACHE_GITHUB_CLIENT_SECRET": CLIENT_SECRET,
    }  # fmt: skip
    secrets = {"server": SERVER_SECRET, "provider key": PROVIDER_KEY, "client secret": CLIENT_SECRET}
    with RedisServer() as server, Site(folder, AGENTCACHE_REDIS_URL=server.url, **settings) as site:
        use_everything(site, secrets)
        # The last mail is written when the worker has done everything before it.
        wait_until(lambda: len(list((folder / "outbox").glob("*.eml"))) >= 9, 60, "mails")
        in_redis = list(values_of_redis(server))
        in_tables = list(values_of_postgresql(settings["AGENTCACHE_DATABASE_URL"])) if engine == "postgresql" else []
        # So that what is not checkpointed yet lies open, too.
        site.server.stop(signal.SIGKILL)
        log = site.server.output
    outbox = folder / "outbox"
    mails = list(scan_folder(outbox, secrets.values()))
    assert mails, "the scanner does not see the links in the mails"
    kept = outbox.rename(tmp_path / "outbox")
    findings: list[Finding] = [*scan_folder(folder, secrets.values()), *scan_text(log, secrets.values(), "log")]
    for place, value in [*in_redis, *in_tables]:
        findings += scan_text(value, secrets.values(), place)
    kinds = {secret: kind for kind, secret in secrets.items()}
    assert not findings, "\n".join(f"{kinds[one.canary]} in {one.place}: {one.context!r}" for one in findings[:20])
    # What is looked into is what is used: names are there.
    names = (
        [*scan_folder(folder, ["ada-"])]
        if engine == "sqlite"
        else [value for _, value in in_tables if b"ada-" in value]
    )
    assert names and in_redis
    record(
        f"A15 {engine}", secrets=len(secrets), hits=0, redis_values=len(in_redis), database_values=len(in_tables),
        files=sum(path.is_file() for path in folder.rglob("*")), log_bytes=len(log), mails_left_out=len(list(kept.iterdir())),
    )  # fmt: skip
