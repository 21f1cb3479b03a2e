from __future__ import annotations

import hashlib
from typing import Any

import pytest

from agentcache.providers.replicate import DIALECT, has_seed, judge_prediction, key_body

DATA_URL = "data:image/png;base64,aGVsbG8="


def test_delivery_is_not_part_of_the_key() -> None:
    body = {"version": "v", "input": {"prompt": "x"}}
    delivered = {**body, "webhook": "https://a.test", "webhook_events_filter": ["completed"], "stream": True}
    assert key_body(delivered) == key_body(body) == body
    assert all(endpoint.ignored == {"webhook", "webhook_events_filter", "stream"} for endpoint in DIALECT.endpoints)


def test_inline_files_are_known_by_their_digest() -> None:
    body = {"input": {"image": DATA_URL, "more": [DATA_URL, "https://a.test/x.png"], "nested": {"f": DATA_URL}}}
    keyed = key_body(body)
    found = keyed["input"]["image"]
    digest = hashlib.sha256(b"aGVsbG8=").hexdigest()
    assert found == {"data_url": {"kind": "data:image/png;base64", "sha256": digest}}
    assert keyed["input"]["more"] == [found, "https://a.test/x.png"]
    assert keyed["input"]["nested"] == {"f": found}
    assert body["input"]["image"] == DATA_URL


def test_different_files_and_media_types_stay_apart() -> None:
    spellings = [DATA_URL, DATA_URL.replace("aGVs", "aGVt"), DATA_URL.replace("png", "jpeg"), "data:,", "data:"]
    assert len({repr(key_body({"input": {"image": text}})) for text in spellings}) == len(spellings) - 1
    # The digest form itself cannot be sent by a caller as a string.
    assert key_body({"input": {"image": DATA_URL}}) != key_body({"input": {"image": str(key_body({"a": DATA_URL}))}})


@pytest.mark.parametrize(
    ("model_input", "expected"),
    [
        ({"seed": 7}, True), ({"seed": 0}, True), ({"seed": -1}, False), ({"seed": None}, False),
        ({"seed": True}, False), ({"seed": "7"}, False), ({"seed": 1.5}, False), ({}, False),
    ],
)  # fmt: skip
def test_has_seed(model_input: dict[str, Any], expected: bool) -> None:
    assert has_seed(model_input) is expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": "succeeded", "output": ["https://replicate.delivery/x"]}, "complete"),
        ({"status": "succeeded", "output": 0}, "complete"),
        ({"status": "starting"}, "not_finished"),
        ({"status": "processing", "output": "half"}, "not_finished"),
        ({"status": "failed", "error": "x"}, "failed"),
        ({"status": "canceled"}, "canceled"),
        ({"status": "aborted"}, "aborted"),
        ({"status": "succeeded", "output": None}, "empty"),
        ({"status": "succeeded", "output": "x", "error": "late"}, "error_in_body"),
        ({"status": "succeeded", "output": "x", "data_removed": True}, "data_removed"),
        ({"status": "later"}, "malformed"),
        ({"detail": "no"}, "malformed"),
        ({"status": []}, "malformed"),
    ],
)
def test_only_finished_predictions_are_kept(answer: dict[str, Any], reason: str) -> None:
    verdict = judge_prediction(answer)
    assert verdict.reason == reason
    assert verdict.storable is (reason == "complete")
