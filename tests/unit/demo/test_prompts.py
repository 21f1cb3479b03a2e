from __future__ import annotations

import json
from collections import Counter

import httpx2
import jsonschema

from agentcache.demo.prompts import CATEGORIES, load_prompts


def test_there_are_enough_and_no_two_are_equal():
    calls = load_prompts()
    assert len(calls) >= 300
    assert len({json.dumps([call.path, call.body], sort_keys=True) for call in calls}) == len(calls)


def test_they_are_varied():
    calls = load_prompts()
    assert set(Counter(call.category for call in calls)) == set(CATEGORIES)
    assert min(Counter(call.category for call in calls).values()) >= 10
    assert {call.dialect for call in calls} == {"openai", "anthropic", "together"}
    assert len({call.body["model"] for call in calls}) >= 7
    assert sum(call.streams for call in calls) >= 40
    assert sum("tools" in call.body for call in calls) >= 40
    assert sum("response_format" in call.body or "output_config" in call.body for call in calls) >= 30
    openings = Counter(str(call.body)[:400] for call in calls)
    assert max(openings.values()) < 30


def test_loading_is_repeatable():
    assert load_prompts() == load_prompts()


def test_every_call_is_answered_by_the_fake_provider(provider):
    with httpx2.Client(base_url=provider.url, headers={"authorization": "Bearer sk-demo"}) as http:
        for call in load_prompts():
            reply = http.post(f"/{call.dialect}{call.path}", json=call.body, headers=dict(call.headers))
            assert reply.status_code == 200, (call, reply.text)
            assert reply.headers["content-type"].startswith("text/event-stream" if call.streams else "application/json")
    assert provider.call_count == len(load_prompts())


def test_structured_answers_match_their_schema(provider):
    with httpx2.Client(base_url=provider.url, headers={"authorization": "Bearer sk-demo"}) as http:
        for call in load_prompts():
            wanted = call.body.get("response_format", {}).get("json_schema") or call.body.get("output_config", {}).get(
                "format"
            )
            if not wanted or call.streams:
                continue
            answer = http.post(f"/{call.dialect}{call.path}", json=call.body, headers=dict(call.headers)).json()
            text = answer["content"][0]["text"] if "content" in answer else answer["choices"][0]["message"]["content"]
            jsonschema.validate(json.loads(text), wanted["schema"])
