"""A cache in trouble costs nobody an answer."""

from __future__ import annotations

import pytest

from agentcache.engine.stores.port import StoreFull, StoreUnavailable


def failing(error, after=0):
    calls = 0

    def fail(original):
        async def call(*arguments, **options):
            nonlocal calls
            calls += 1
            if calls > after:
                raise error
            return await original(*arguments, **options)

        return call

    return fail


@pytest.fixture
def breaks(gateway, monkeypatch):
    def break_store(method, error, after=0):
        entries = gateway.parts.entries
        monkeypatch.setattr(entries, method, failing(error, after)(getattr(entries, method)))

    return break_store


def test_without_look_ups_everything_is_asked_for_and_nothing_stored(raw, provider, breaks, monkeypatch):
    with monkeypatch.context():
        breaks("get", StoreUnavailable())
        answer = raw.ask(["a", "b"])
    assert "detail=store_unavailable" in answer.headers["cache-status"]
    assert "stored" not in answer.headers["cache-status"].split("; ")
    monkeypatch.undo()
    raw.ask(["a", "b"])
    assert provider.calls[-1].json["input"] == ["a", "b"]


def test_a_store_that_fails_midway_is_asked_no_more(raw, provider, breaks, monkeypatch):
    items = [f"item {number}" for number in range(200)]
    known = raw.vectors(items)
    breaks("get", StoreUnavailable(), after=100)
    assert raw.vectors(items) == known
    assert provider.calls[-1].json["input"] == items[96:]


def test_an_answer_that_cannot_be_stored_is_still_an_answer(raw, provider, breaks):
    breaks("put", StoreFull())
    answer = raw.ask(["a", "b"])
    assert "detail=storage_full" in answer.headers["cache-status"]
    assert len(answer.json()["data"]) == 2
