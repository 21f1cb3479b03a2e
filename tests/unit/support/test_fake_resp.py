from __future__ import annotations

import pytest
import redis

from tests.support.fake_resp import FakeResp


@pytest.fixture
def fake():
    with FakeResp() as running:
        yield running


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def connection(fake, request):
    with redis.Redis.from_url(fake.url, protocol=request.param, socket_timeout=0.3, retry=None) as made:
        yield made


def test_answers_when_all_is_well(fake, connection):
    assert connection.ping()
    assert connection.get("a") is None
    assert connection.set("a", "b")
    assert fake.commands[-3:] == ["PING", "GET", "SET"]


@pytest.mark.parametrize(
    ("mode", "error"),
    [
        ("loading", redis.BusyLoadingError),
        ("oom", redis.OutOfMemoryError),
        ("readonly", redis.ReadOnlyError),
        ("noauth", redis.AuthenticationError),
        ("moved", redis.ResponseError),
        ("busy", redis.ResponseError),
        ("garbage", (redis.ConnectionError, redis.InvalidResponse)),
        ("silent", redis.TimeoutError),
        ("close", redis.ConnectionError),
    ],
)
def test_refuses_as_redis_does(fake, connection, mode, error):
    connection.ping()
    fake.mode = mode
    with pytest.raises(error):
        connection.set("a", "b")


@pytest.mark.parametrize("mode", ["oom", "readonly"])
def test_reads_still_work(fake, connection, mode):
    fake.mode = mode
    assert connection.get("a") is None


def test_dropped_connections_are_noticed(fake, connection):
    connection.ping()
    fake.drop_connections()
    assert connection.ping()
    assert fake.connections > 1
