from __future__ import annotations

import random
import re
import statistics
import time

import pytest
from django.contrib.auth.hashers import make_password
from django.test import Client

from agentcache.accounts import services
from agentcache.accounts.limits import LIMITS, Door, Limits
from agentcache.accounts.models import AttemptCount, User
from tests.support.accounts import HOST, Person, stranger
from tests.support.reliability import record
from tests.support.tiers import before_release
from tests.support.timings import ks_p_value

#: Timed calls for each kind of address. The hashing door takes a tenth of a second each.
_CALLS = {"/login": 30, "/register": 250, "/forgot-password": 250, "/resend-verification": 250}
#: Addresses that a stranger must not be able to tell apart.
_KINDS = ("known", "unknown", "unverified", "disabled")


@pytest.fixture
def addresses(sqlite_project):
    Person(email="known@example.com").join()
    services.disable(Person(email="disabled@example.com").join().user)
    Person(email="unverified@example.com").register()
    return {kind: f"{kind}@example.com" for kind in _KINDS}


@pytest.mark.parametrize("path", _CALLS)
def test_answers_tell_nothing_of_an_address(addresses, path):
    seen = set()
    for email in addresses.values():
        AttemptCount.objects.all().delete()
        answer = stranger().post(path, _body(path, email))
        answer_body = answer.json()
        answer_body.pop("request_id", None)
        names = {name: value for name, value in answer.headers.items() if name != "X-AgentCache-Request-Id"}
        seen.add(
            (answer.status_code, str(sorted(answer_body.items())), str(sorted(names.items())), str(answer.cookies))
        )
    assert len(seen) == 1


@before_release
@pytest.mark.parametrize("path", _CALLS)
def test_times_tell_nothing_of_an_address(sqlite_project, real_hashes, path):
    # Samples of one distribution differ this much once in a hundred rounds; a leak differs in each.
    for attempt in range(3):
        known, unknown = _timed(path, _CALLS[path], attempt)
        p_value = ks_p_value(known, unknown)
        gap_ms = abs(statistics.median(known) - statistics.median(unknown)) * 1000
        # Where a hash takes its time, a busy machine moves a median by some hundredths of it.
        allowed_ms = max(5.0, 50 * statistics.median(unknown))
        if p_value > 0.01 and gap_ms < allowed_ms:
            break
    assert p_value > 0.01, (p_value, gap_ms)
    assert gap_ms < allowed_ms, (gap_ms, allowed_ms)
    record("A1", door=path, calls=2 * _CALLS[path], p_value=round(p_value, 3), median_gap_ms=round(gap_ms, 3))


def _timed(path: str, calls: int, attempt: int) -> tuple[list[float], list[float]]:
    """Ask for addresses of which half have an account, each once, so that nothing has been seen before."""
    times: dict[str, list[float]] = {"known": [], "unknown": []}
    order = [(f"{kind}{attempt}-{number}@example.com", kind) for kind in times for number in range(calls)]
    password = make_password("a password that nobody tries")
    User.objects.bulk_create([User(email=email, password=password) for email, kind in order if kind == "known"])
    random.Random(attempt).shuffle(order)
    person = stranger()
    for number in range(3):
        person.post(path, _body(path, f"warm{attempt}-{number}@example.com"))
    for number, (email, kind) in enumerate(order):
        person.address = f"198.18.{number // 250}.{number % 250}"
        began = time.perf_counter()
        person.post(path, _body(path, email))
        times[kind].append(time.perf_counter() - began)
    return times["known"], times["unknown"]


@pytest.fixture
def inviting(addresses):
    """A team's administrator, and where invitations go."""
    ada = Person(email="ada@example.com").join()
    assert ada.sign_in().status_code == 200
    program = Client(HTTP_HOST=HOST, HTTP_X_SESSION_TOKEN=ada.token)
    [team] = program.get("/api/teams").json()
    return program, f"/api/teams/{team['team']['id']}/invitations"


def _invite(program, path, email, address="198.51.100.7"):
    return program.post(path, {"email": email, "role": "viewer"}, "application/json", REMOTE_ADDR=address)


def test_an_invitation_tells_nothing_of_an_address(inviting, addresses):
    seen = set()
    for kind, email in addresses.items():
        answer = _invite(*inviting, email)
        assert answer.status_code == 201, answer.content
        shown = {name: value for name, value in answer.json().items() if name not in ("id", "sent_at", "expires_at")}
        headers = {name: value for name, value in answer.headers.items() if name != "X-AgentCache-Request-Id"}
        seen.add(f"{shown} {headers} {answer.cookies}".replace(email, "…").replace(kind, "…"))
    assert len({_without_length(text) for text in seen}) == 1, seen
    record("A1", door="/invitations", answers=1)


def _without_length(text):
    return re.sub(r"'Content-Length': '\d+'", "", text)


@before_release
def test_times_of_invitations_tell_nothing_of_an_address(inviting, monkeypatch):
    # A day's invitations of a team are far fewer than a sample.
    monkeypatch.setitem(LIMITS, Door.INVITE, Limits())
    program, path = inviting
    for attempt in range(3):
        order = [
            (f"{kind}{attempt}-{number}@example.com", kind) for kind in ("known", "unknown") for number in range(500)
        ]
        User.objects.bulk_create([User(email=email, password="!") for email, kind in order if kind == "known"])
        random.Random(attempt).shuffle(order)
        times: dict[str, list[float]] = {"known": [], "unknown": []}
        for email, kind in order:
            began = time.perf_counter()
            answer = _invite(program, path, email)
            times[kind].append(time.perf_counter() - began)
            assert answer.status_code == 201
        p_value = ks_p_value(times["known"], times["unknown"])
        gap_ms = abs(statistics.median(times["known"]) - statistics.median(times["unknown"])) * 1000
        if p_value > 0.01:
            break
    assert p_value > 0.01, (p_value, gap_ms)
    record("A1", door="/invitations", calls=1000, p_value=round(p_value, 3), median_gap_ms=round(gap_ms, 3))


def test_the_test_of_times_sees_a_difference_of_one_millisecond():
    noise = random.Random(3)
    quick = [0.003 + noise.gauss(0, 0.0007) for _ in range(250)]
    slow = [0.004 + noise.gauss(0, 0.0007) for _ in range(250)]
    assert ks_p_value(quick, slow) < 0.001
    assert ks_p_value(quick, [0.003 + noise.gauss(0, 0.0007) for _ in range(250)]) > 0.01


def _body(path, email):
    if path == "/login":
        return {"email": email, "password": "gravel moth tunes kettle"}
    return {"email": email}
