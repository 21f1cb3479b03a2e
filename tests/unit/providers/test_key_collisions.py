"""C1: of two requests that differ in one place, whatever the place, no two share a key: 100,000 pairs from the official
clients' own fields, unknown members, headers, and everything around a body."""

from __future__ import annotations

import copy
import random
import unicodedata
from collections import Counter
from dataclasses import replace
from typing import Any

import rfc8785

from agentcache.engine.keys import KeyMaterial, cache_key
from agentcache.gateway.calls import key_material
from agentcache.providers.registry import DIALECTS
from tests.support.entries import make_tenant
from tests.support.reliability import record
from tests.support.tiers import count
from tests.unit.providers.test_key_fields import KNOWN_TYPES, endpoint_of, known_fields

PAIRS = count(25_000, 100_000)
TENANT = make_tenant()
#: Values that careless key makers take for each other.
NEAR: list[Any] = [
    None, True, False, 0, 1, -1, "0", "1", "", " ", "null", "true", [], {}, [None], [[]], {"": None}, 0.1, 1e-7, 2**53,
    "a", "A", "a ", " a", "a\n", "a\r\n", "a\t", "\u00e9", "e\u0301", "\u200b", "a\u200b", "\u2028", "\\", "\\\\", "\"", "'",
    "a,b", ["a", "b"], ["b", "a"], ["a,b"], "a:b", {"a": "b"}, "[]", "{}", "\x00", "a\x00b", ":", "|", "\x1f", "1.0", "1e0",
]  # fmt: skip
WORDS = [
    "gpt-4o",
    "user",
    "system",
    "Which port?",
    "which port?",
    "Which port ?",
    "text",
    "auto",
    "none",
    "low",
    "high",
]


def random_value(chance: random.Random, depth: int = 0) -> Any:
    draw = chance.random()
    if draw < 0.35 or depth > 2:
        return copy.deepcopy(chance.choice(NEAR))
    if draw < 0.55:
        return chance.choice(WORDS)
    if draw < 0.7:
        return chance.choice([chance.randint(-5, 5), chance.random(), chance.randint(0, 2**40)])
    if draw < 0.85:
        return [random_value(chance, depth + 1) for _ in range(chance.randint(0, 3))]
    return {chance.choice(WORDS): random_value(chance, depth + 1) for _ in range(chance.randint(0, 3))}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return every place in a JSON value, its own excepted."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        found += [(*at, name), *places(inner, (*at, name))]
    return found


def changed(chance: random.Random, body: dict[str, Any], ignored: frozenset[str]) -> dict[str, Any]:
    """Return the body with one thing about it changed, outside the members that the key leaves out."""
    body = copy.deepcopy(body)
    kept = [place for place in places(body) if place[0] not in ignored]
    if chance.random() < 0.2 or not kept:
        name = chance.choice(["zzz", "Model", "model ", "extra_body", "n", "x" * chance.randint(1, 9), "\u00e9", ""])
        body[name] = random_value(chance)
        return body
    *way, last = chance.choice(kept)
    holder: Any = body
    for step in way:
        holder = holder[step]
    draw = chance.random()
    if draw < 0.15:
        del holder[last]
    elif draw < 0.3 and isinstance(holder[last], str):
        text = holder[last]
        holder[last] = chance.choice(
            [text + " ", " " + text, text.upper(), text + "\x00", unicodedata.normalize("NFD", text)]
        )
    elif draw < 0.4 and isinstance(holder[last], list):
        holder[last] = [*holder[last], *holder[last]] or [0]
    elif draw < 0.5:
        holder[last] = [holder[last]]
    elif draw < 0.6:
        holder[last] = str(holder[last])
    else:
        holder[last] = random_value(chance)
    return body


def around(chance: random.Random, material: KeyMaterial) -> KeyMaterial:
    """Return the same body in another place."""
    changes: list[dict[str, Any]] = [
        {"dialect": material.dialect + "x"}, {"endpoint": material.endpoint + ".x"}, {"origin": material.origin + "/eu"},
        {"namespace": chance.choice(WORDS)}, {"bucket": str(chance.randint(1, 9))}, {"path": (("owner", "a"),)},
        {"headers": (("anthropic-beta", chance.choice(WORDS)),)}, {"ignored": (("metadata", "id"),)},
        {"headers": (("openai-organization", "a,b"),)}, {"path": (("owner", "a"), ("name", "b"))},
    ]  # fmt: skip
    return replace(material, **chance.choice(changes))


def identity(material: KeyMaterial) -> bytes:
    """Return what makes a request that request, by an oracle that shares no code with the key."""
    beside = [material.dialect, material.endpoint, material.origin, material.namespace, material.bucket]
    listed = [[list(pair) for pair in pairs] for pairs in (material.headers, material.path, material.ignored)]
    return rfc8785.dumps([*beside, *listed, _exact(material.body)])


def _exact(value: Any) -> Any:
    # Beyond 2**53 the oracle refuses whole numbers; no request here has such members.
    if isinstance(value, dict):
        return {name: _exact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_exact(inner) for inner in value]
    return float(value) if type(value) is int and abs(value) >= 2**53 else value


def test_no_two_requests_share_a_key() -> None:
    chance = random.Random(1)
    by_key: dict[bytes, bytes] = {}
    pairs, collisions = 0, []
    fields: Counter[tuple[str, str]] = Counter()
    while pairs < PAIRS:
        for place in KNOWN_TYPES:
            dialect, endpoint = DIALECTS[place[0]], endpoint_of(*place)
            known = known_fields(place)
            chosen = chance.sample(known, min(len(known), chance.randint(1, 7)))
            fields.update((place[0], name) for name in chosen)
            body: dict[str, Any] = {name: random_value(chance) for name in chosen}
            body["messages"] = [{"role": chance.choice(WORDS), "content": chance.choice(WORDS)}]
            dropped = endpoint.ignored | endpoint.ignored_anywhere
            base = key_material(dialect, endpoint, body, namespace="default")
            others = [
                around(chance, base)
                if chance.random() < 0.12
                else key_material(dialect, endpoint, changed(chance, body, dropped), namespace="default")
                for _ in range(12)
            ]
            base_identity, base_key = identity(base), cache_key(TENANT, base)
            by_key.setdefault(base_key, base_identity)
            for other in others:
                name, key = identity(other), cache_key(TENANT, other)
                # Over all requests ever made here, not only the two of this pair.
                if by_key.setdefault(key, name) != name:
                    collisions.append((name, by_key[key]))
                assert (key == base_key) == (name == base_identity), (base, other)
                pairs += name != base_identity
    assert collisions == []
    assert len(set(by_key.values())) == len(by_key)
    record("C1", pairs=pairs, requests=len(by_key), fields=len(fields), collisions=0)
