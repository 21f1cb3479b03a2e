"""A17: what was ended is refused by every worker, whether or not Redis is there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from itertools import count

import pytest

from tests.support.api_person import ApiPerson
from tests.support.browser.site import Site
from tests.support.migrated_site import prepare
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import ENGINES

# Dozens of processes begin and end here; how fast is not what is tested.
pytestmark = pytest.mark.timeout(480)
WORKERS = 2
#: Answers in a row by which every worker has been met, each on a new connection.
MET_EVERYBODY = 16
#: Between two questions that are let through: a verdict is remembered for seconds.
PAUSE_SECONDS = 0.03
#: Polls before a test gives up; the promise of 5 s by the server's own clock is held in `test_authenticate.py`.
POLLS_MAX = 2000


def until_refused(ask: Callable[[], int], was: int) -> tuple[int, float]:
    """Ask until nobody lets it through any more; return how often it still was, and the last such moment in seconds."""
    began, let_through, last, refused = time.monotonic(), 0, 0.0, 0
    for _ in range(POLLS_MAX):
        asked_at = time.monotonic() - began
        status = ask()
        if status == was:
            let_through, last, refused = let_through + 1, asked_at, 0
            time.sleep(PAUSE_SECONDS)
        else:
            assert status in (401, 403, 404), status
            refused += 1
            if refused == MET_EVERYBODY:
                return let_through, last
    raise AssertionError(f"still let through after {POLLS_MAX} polls")


def known_everywhere(ask: Callable[[], int]) -> int:
    """Ask so often that every worker has a verdict to remember."""
    statuses = {ask() for _ in range(MET_EVERYBODY)}
    assert len(statuses) == 1, statuses
    return statuses.pop()


def join_team(ada: ApiPerson, guest: ApiPerson, role: str) -> str:
    """Invite somebody and have them accept; return the member's id."""
    team = ada.team_id()
    ada.do("POST", f"/teams/{team}/invitations", {"email": guest.email, "role": role})
    token = re.split("[/=]", guest.site.mail(guest.email, "invites").link)[-1]
    guest.do("POST", "/teams/invitations/accept", {"token": token})
    members = ada.do("GET", f"/teams/{team}/members")["members"]
    return next(str(row["id"]) for row in members if row["email"] == guest.email)


def end_everything(site: Site, redis: str, engine: str) -> None:
    """End a key, a session and a membership, each while it is in use."""
    ada, bob = ApiPerson(site).join(), ApiPerson(site, "bob").join()
    team, member = ada.team_id(), join_team(ada, bob, "member")
    key_id, key = ada.new_key()
    bobs_key = bob.ask("POST", "/keys", {"name": "bob's"}, **{"X-AgentCache-Team": team}).json()["api_key"]
    elsewhere = ApiPerson(site)
    elsewhere.email = ada.email
    elsewhere.sign_in()
    [own] = [row for row in ada.do("GET", "/account/sessions")["sessions"] if row["is_current"]]

    networks = count(1)

    def call(api_key: str) -> int:
        # Each from an address of its own: so many failures from one are refused before the key is looked at.
        number = next(networks)
        address = {"X-Forwarded-For": f"198.18.{number // 250}.{number % 250}"}
        return int(site.call(api_key, "the same prompt", **address).status_code)

    ends: dict[str, tuple[Callable[[], int], Callable[[], object]]] = {
        "key": (lambda: call(key), lambda: ada.do("POST", f"/keys/{key_id}/revoke")),
        "session": (
            lambda: ada.ask("GET", "/account/me").status_code,
            lambda: elsewhere.do("DELETE", f"/account/sessions/{own['id']}"),
        ),
        "member": (
            lambda: bob.ask("GET", f"/teams/{team}/members").status_code,
            lambda: elsewhere.do("DELETE", f"/teams/{team}/members/{member}?revoke_keys=true"),
        ),
        "member's key": (lambda: call(bobs_key), lambda: None),
    }
    figures: dict[str, float] = {}
    for name, (ask, end) in ends.items():
        if name != "member's key":  # ended along with the member
            assert known_everywhere(ask) == 200, name
        if name == "member":
            assert known_everywhere(lambda: call(bobs_key)) == 200
        end()
        let_through, last = until_refused(ask, 200)
        # Members and sessions are asked of the database by every request.
        assert let_through == 0 or "key" in name, (name, let_through)
        figures[f"{name.replace(chr(39), '').replace(' ', '_')}_let_through_until_seconds"] = round(last, 2)
    record(f"A17 {engine}, Redis {redis}", violations=0, workers=WORKERS, **figures)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_was_ended_is_refused_by_every_worker_with_redis_and_without(request, tmp_path, engine):
    settings = {"AGENTCACHE_WORKERS": str(WORKERS), **prepare(request, engine, tmp_path / "site")}
    redis = RedisServer().start()
    try:
        with Site(tmp_path / "site", AGENTCACHE_REDIS_URL=redis.url, **settings) as site:
            end_everything(site, "up", engine)
            redis.kill()
            end_everything(site, "down", engine)
    finally:
        redis.stop()
