from __future__ import annotations

from array import array

from agentcache.gateway.embeddings.stored import CONTENT_TYPE, StoredVector, pack, stored_answer, unpack
from agentcache.gateway.embeddings.vectors import Form
from tests.support.entries import make_entry

STORED = StoredVector(
    Form.EXACT, array("f", [0.5, -0.25]).tobytes(), {"object": "list", "model": "m"}, {"object": "embedding"}, True, 3
)


def test_a_stored_vector_comes_back():
    assert unpack(make_entry(body=pack(STORED), content_type=CONTENT_TYPE)) == STORED


def test_an_answer_with_one_vector_that_somebody_placed_is_read():
    body = b'{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-0.25]}],"model":"m","usage":{}}'
    found = unpack(make_entry(body=body, input_tokens=3))
    assert found == STORED


def test_what_cannot_be_read_is_a_miss():
    for body in (b"", b"[]", b'{"data":[]}', b'{"data":[{"embedding":["x"]}]}', b'{"data":[1]}', b"\xff"):
        assert unpack(make_entry(body=body)) is None
    assert unpack(make_entry(body=b"\x93", content_type=CONTENT_TYPE)) is None


def test_a_stored_vector_can_be_shown_as_an_answer():
    assert stored_answer(make_entry(body=pack(STORED), content_type=CONTENT_TYPE)) == {
        "object": "list",
        "model": "m",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    assert stored_answer(make_entry()) is None
