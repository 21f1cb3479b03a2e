"""C6 through the gateway: bytes that somebody planted in the store are a miss, and never code."""

from __future__ import annotations

import contextlib
import pickle

import apsw
import httpx
import redis

from tests.support.gateway import LightGateway
from tests.support.reliability import record


class Bomb:
    """Leaves a file behind when somebody unpickles it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def planted_values(tmp_path):
    """Return bytes of every kind that a careless reader would take for more than bytes."""
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    return [
        bomb, b"\x80\x04." + bomb, b'{"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}}', b"",
        b"\xff" * 64, b"\x00" * 4096, b"\xde\xad" + bomb, (2**62).to_bytes(8, "big") + b"x",
        b"!!python/object/apply:os.system [id]", b"\xdb\xff\xff\xff\xff", b"[" * 50_000,
    ]  # fmt: skip


def ask(gateway, name):
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": name}]}
    headers = {"X-AgentCache-Key": gateway.key(), "Authorization": "Bearer sk-test"}
    answer = httpx.post(f"{gateway.url}/openai/v1/chat/completions", json=body, headers=headers, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer


def is_hit(answer):
    return answer.headers["cache-status"].startswith("AgentCache; hit")


def fill(gateway, names):
    """Store an answer under each name and return their keys."""
    for name in names:
        ask(gateway, name)
    answers = [ask(gateway, name) for name in names]
    assert all(map(is_hit, answers))
    return [bytes.fromhex(answer.headers["x-agentcache-key"]) for answer in answers]


def check_all_are_misses(gateway, names, values, tmp_path):
    """Assert that nothing planted is served, that nothing ran, and that the cache works on."""
    for name, value in zip(names, values, strict=True):
        answer = ask(gateway, name)
        assert not is_hit(answer), name
        assert not value or value not in answer.content
    assert all(is_hit(ask(gateway, name)) for name in names)
    assert not (tmp_path / "exploded").exists()


def test_planted_in_the_file(tmp_path, provider):
    values = [*planted_values(tmp_path), *planted_values(tmp_path)]
    names = [f"question {number}" for number in range(len(values))]
    with LightGateway(tmp_path, provider) as gateway:
        keys = fill(gateway, names)
        database = gateway.settings.cache_db
    with contextlib.closing(apsw.Connection(str(database))) as connection:
        for number, (key, value) in enumerate(zip(keys, values, strict=True)):
            column = "head" if number < len(values) // 2 else "body"
            connection.execute(f"UPDATE entries SET {column} = ? WHERE key = ?", (value, key))
            assert connection.changes() == 1
    with LightGateway(tmp_path, provider) as gateway:
        check_all_are_misses(gateway, names, values, tmp_path)
    record("C6 gateway, SQLite", planted=len(values), executions=0, served=0)


def test_planted_in_redis(tmp_path, provider, redis_url):
    values = planted_values(tmp_path)
    names = [f"question {number}" for number in range(len(values))]
    with LightGateway(tmp_path, provider, AGENTCACHE_REDIS_URL=redis_url) as gateway:
        keys = fill(gateway, names)
        with redis.Redis.from_url(redis_url, protocol=2) as connection:
            written = 0
            for key, value in zip(keys, values, strict=True):
                for place in connection.scan_iter(count=1000):
                    if key.hex().encode() in place or key in place:
                        written += overwrite(connection, place, value)
            assert written >= len(values)
        check_all_are_misses(gateway, names, values, tmp_path)
    record("C6 gateway, Redis", planted=written, executions=0, served=0)


def overwrite(connection, place, value):
    """Replace what is stored at a place by `value`, whatever its type."""
    if connection.type(place) == b"hash":
        for field in connection.hkeys(place):
            connection.hset(place, field, value)
        return 1
    if connection.type(place) == b"string":
        connection.set(place, value, keepttl=True)
        return 1
    return 0
