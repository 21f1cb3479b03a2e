"""C1, C2, C4, C5: what is in the key, and that the key never drifts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.engine.canonical import parse_body
from agentcache.engine.entries import Tenant
from agentcache.engine.keys import (
    KeyMaterial,
    cache_key,
    fingerprint_parts,
    parse_ignore_path,
    without_members,
    without_paths,
)
from agentcache.kit.errors import BadRequest
from tests.support.reliability import record
from tests.support.tiers import count

GOLDEN = Path(__file__).with_name("golden_keys.json")
TENANT = Tenant(id="t1", key_secret=bytes(range(32)))
MATERIAL = KeyMaterial(
    dialect="openai",
    endpoint="chat.completions",
    origin="https://api.openai.com/v1",
    namespace="default",
    bucket="",
    headers=(("openai-organization", "org-1"),),
    path=(),
    body={"model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5},
)

_TEXT = st.text(max_size=12)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | _TEXT,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(_TEXT, children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    "change",
    [
        {"dialect": "together"},
        {"endpoint": "completions"},
        {"origin": "https://eu.api.openai.com/v1"},
        {"namespace": "prod"},
        {"bucket": "1"},
        {"headers": ()},
        {"headers": (("openai-organization", "org-2"),)},
        {"path": (("owner", "a"),)},
        {"ignored": (("temperature",),)},
        {"body": {}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_a_request_changes_the_key(change: dict[str, Any]) -> None:
    assert cache_key(TENANT, replace(MATERIAL, **change)) != cache_key(TENANT, MATERIAL)


@given(st.dictionaries(_TEXT, _VALUES, max_size=5), st.dictionaries(_TEXT, _VALUES, max_size=5))
@settings(max_examples=count(250, 1000), deadline=None)
def test_bodies_share_a_key_only_when_they_are_equal(one: dict[str, Any], two: dict[str, Any]) -> None:
    same = cache_key(TENANT, replace(MATERIAL, body=one)) == cache_key(TENANT, replace(MATERIAL, body=two))
    assert same == (json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True))


@given(_TEXT, _TEXT, _TEXT, _TEXT)
@settings(max_examples=count(200, 500), deadline=None)
def test_separators_inside_values_cannot_move_a_boundary(a: str, b: str, c: str, d: str) -> None:
    one = replace(MATERIAL, namespace=a, bucket=b)
    two = replace(MATERIAL, namespace=c, bucket=d)
    assert (cache_key(TENANT, one) == cache_key(TENANT, two)) == ((a, b) == (c, d))


@pytest.mark.parametrize("separator", [":", "\0", "\n", '","', "/", "\x1f", "ns:", '\\"'])
def test_known_separators_cannot_move_a_boundary(separator: str) -> None:
    one = replace(MATERIAL, namespace="a" + separator, bucket="b")
    two = replace(MATERIAL, namespace="a", bucket=separator + "b")
    assert cache_key(TENANT, one) != cache_key(TENANT, two)


def test_tenants_never_share_a_key() -> None:
    other = Tenant(id="t2", key_secret=bytes(32))
    assert cache_key(other, MATERIAL) != cache_key(TENANT, MATERIAL)
    assert set(fingerprint_parts(other, MATERIAL).values()).isdisjoint(fingerprint_parts(TENANT, MATERIAL).values())


def test_ignored_members_leave_the_key_at_the_top_only() -> None:
    body = {"user": "u", "messages": [{"user": "kept"}]}
    assert without_members(body, frozenset({"user"}), frozenset()) == {"messages": [{"user": "kept"}]}


def test_members_ignored_anywhere_leave_at_any_depth() -> None:
    body: dict[str, Any] = {
        "system": [{"text": "a", "cache_control": {}}],
        "tools": [{"x": {"cache_control": 1, "y": 2}}],
    }
    kept = without_members(body, frozenset(), frozenset({"cache_control"}))
    assert kept == {"system": [{"text": "a"}], "tools": [{"x": {"y": 2}}]}
    assert body["system"][0] == {"text": "a", "cache_control": {}}


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"name": "t", "input_schema": {"properties": {"cache_control": {"type": "string"}}}}]},
        {"tools": [{"function": {"parameters": {"properties": {"cache_control": {"type": "string"}}}}}]},
        {"messages": [{"content": [{"type": "tool_use", "input": {"cache_control": "no-store"}}]}]},
        {"output_config": {"format": {"schema": {"required": ["a"], "cache_control": 1}}}},
    ],
)
def test_a_callers_own_schemas_and_arguments_are_kept_whole(body: dict[str, Any]) -> None:
    assert without_members(body, frozenset(), frozenset({"cache_control"})) == body


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("a", {"b": [{"c": 1, "d": 2}, {"c": 3}]}),
        ("$.a", {"b": [{"c": 1, "d": 2}, {"c": 3}]}),
        ("b[0].c", {"a": 0, "b": [{"d": 2}, {"c": 3}]}),
        ("b[*].c", {"a": 0, "b": [{"d": 2}, {}]}),
        ("b[1]", {"a": 0, "b": [{"c": 1, "d": 2}]}),
        ("b[*]", {"a": 0, "b": []}),
        ("b[7].c", {"a": 0, "b": [{"c": 1, "d": 2}, {"c": 3}]}),
        ("absent.x", {"a": 0, "b": [{"c": 1, "d": 2}, {"c": 3}]}),
    ],
)
def test_paths_name_what_they_leave_out(path: str, left: dict[str, Any]) -> None:
    body = {"a": 0, "b": [{"c": 1, "d": 2}, {"c": 3}]}
    assert without_paths(body, [parse_ignore_path(path)]) == left


@pytest.mark.parametrize("path", ["", "  ", "a..b", "a.", ".", "$", "a[", "a[x]", "a]b", "a[-1]", "x" * 300])
def test_malformed_paths_are_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        parse_ignore_path(path)


def test_fingerprints_name_what_differs() -> None:
    other = replace(MATERIAL, body={**MATERIAL.body, "messages": [{"role": "user", "content": "ho"}]})
    one, two = fingerprint_parts(TENANT, MATERIAL), fingerprint_parts(TENANT, other)
    assert [name for name in one if one[name] != two[name]] == ["body.messages[0]"]


def golden_keys() -> list[str]:
    """Return the keys of the stored requests as this interpreter makes them."""
    requests = json.loads(GOLDEN.read_text())["requests"]
    return [cache_key(TENANT, _material(request)).hex() for request in requests]


def _material(request: dict[str, Any]) -> KeyMaterial:
    pairs = {name: tuple(tuple(pair) for pair in request[name]) for name in ("headers", "path", "ignored")}
    return KeyMaterial(**{**request, **pairs})


def test_golden_keys_have_not_changed() -> None:
    stored = json.loads(GOLDEN.read_text())
    assert len(stored["keys"]) == len(stored["requests"]) == 200
    assert golden_keys() == stored["keys"], "raise KEY_VERSION, then make the golden file anew"


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _reversed(child) for name, child in reversed(value.items())}
    return [_reversed(child) for child in value] if isinstance(value, list) else value


def test_other_spellings_of_the_golden_requests_have_the_golden_keys() -> None:
    """C2, counted: member order, white space, escapes and number spelling."""
    stored = json.loads(GOLDEN.read_text())
    spellings = 0
    for request, key in zip(stored["requests"], stored["keys"], strict=True):
        body = request["body"]
        for text in (
            json.dumps(_reversed(body)),
            json.dumps(body, indent=3),
            json.dumps(body, ensure_ascii=False),
            re.sub(r'(": )(-?\d{1,15})(?=[,}])', r"\1\2.0e0", json.dumps(body)),
        ):
            assert cache_key(TENANT, _material({**request, "body": parse_body(text.encode())})).hex() == key
            spellings += 1
    record("C2", requests=len(stored["keys"]), spellings=spellings)


def test_no_separator_moves_a_boundary() -> None:
    """C4, counted: every separator between every two neighbours."""
    keys: dict[bytes, tuple[str, str]] = {}
    separators = [":", "\0", "\n", '","', "/", "\x1f", "ns:", '\\"', "]", "[", "{}", "t1"]
    for separator in separators:
        for one, two in ((separator, ""), ("", separator), (separator, separator), ("a" + separator, "b")):
            key = cache_key(TENANT, replace(MATERIAL, namespace=one, bucket=two))
            assert keys.setdefault(key, (one, two)) == (one, two)
    record("C4", separators=len(separators), pairs=len(keys))


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_golden_keys_do_not_depend_on_the_process(seed: str) -> None:
    program = (
        f"import sys; sys.path[:0] = {[str(Path(p).resolve()) for p in sys.path if p]!r}\n"
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('keys_test', {str(Path(__file__))!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print('\\n'.join(module.golden_keys()))"
    )
    environ = {**os.environ, "PYTHONHASHSEED": seed}
    run = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True)
    keys = run.stdout.split()
    assert keys == json.loads(GOLDEN.read_text())["keys"]
    record(f"C5 hash seed {seed}", keys=len(keys))
