"""Which items of embeddings are asked for in one call."""

import json

from agentcache.gateway.inside import InsideRequest
from agentcache.prewarm.items import BYTES_PER_CALL, ITEMS_PER_CALL, fitting, joined, numbered, planned


def item(content, headers=(), **members):
    body = {"model": "text-embedding-3-small", **members, "input": content}
    return InsideRequest("openai", "/v1/embeddings", headers, json.dumps(body).encode())


def test_items_go_together_that_differ_in_nothing_else():
    requests = [
        item("a"),
        None,
        item("b"),
        item("c", dimensions=8),
        item("d", (("x-agentcache-tags", "shop"),)),
        item([1, 2]),
        item("e"),
        None,
        item([3]),
    ]
    assert numbered(requests) == [1, 0, 1, 2, 3, 4, 1, 0, 4]


def test_a_call_has_so_many_items_and_others_wait_for_their_turn():
    one, many = 100, range(ITEMS_PER_CALL + 1)
    assert planned([(one, 0), *((number, 1) for number in many), (101, 0)], 2) == [[one], [*many][:-1]]
    assert planned([(1, 1), (2, 2), (3, 1), (4, 0), (5, 0)], 3) == [[1, 3], [2], [4]]
    assert planned([(1, 0), (2, 0)], 4) == [[1], [2]]
    assert planned([], 4) == []


def test_a_call_is_no_larger_than_providers_take():
    half = item("x" * (BYTES_PER_CALL // 2 - 100))
    assert fitting([half, half, half]) == 2
    assert fitting([item("x" * 2 * BYTES_PER_CALL), half]) == 1


def test_the_items_of_several_requests_are_one_input():
    request, lengths = joined([item("one", user="u"), item("three", user="u")])
    assert json.loads(request.body) == {"model": "text-embedding-3-small", "user": "u", "input": ["one", "three"]}
    assert lengths == [3, 5]
    request, lengths = joined([item([1, 2]), item([3])])
    assert (json.loads(request.body)["input"], lengths) == ([[1, 2], [3]], [2, 1])
