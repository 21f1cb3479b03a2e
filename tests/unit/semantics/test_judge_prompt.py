"""What counts as a judge's verdict: its one word with the code of the call, and nothing else."""

import json

import pytest

from agentcache.providers.registry import DIALECTS
from agentcache.semantics.judge_prompt import Answered, judge_endpoint, judge_request, read_verdict

CODE = "1f2e3d4c"
OPENAI, ANTHROPIC = DIALECTS["openai"], DIALECTS["anthropic"]
PAIR = (Answered("A?", "Yes."), Answered("Is it A?", "It is."))


def said(text):
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (f"yes-{CODE}", True),
        (f" no-{CODE}\n", False),
        (f"unsure-{CODE}", None),
        ("yes", None),
        (f"Yes-{CODE}", None),
        (f"yes-{CODE}.", None),
        (f"yes-{CODE} no-{CODE}", None),
        ("yes-00000000", None),
        (f'{{"verdict": "yes-{CODE}"}}', None),
        (f"The answers agree: yes-{CODE}", None),
        ("", None),
    ],
)
def test_a_verdict_is_one_word_with_the_code(text, verdict):
    assert read_verdict(judge_endpoint(OPENAI), said(text), CODE) is verdict


@pytest.mark.parametrize("answer", [b"", b"<html>", b"[]", b'{"choices": []}', b"\xff"])
def test_what_is_no_answer_is_no_verdict(answer):
    assert read_verdict(judge_endpoint(OPENAI), answer, CODE) is None


def test_each_dialect_is_asked_in_its_own_way():
    for dialect, path in ((OPENAI, "/v1/chat/completions"), (ANTHROPIC, "/v1/messages")):
        request = judge_request(dialect, judge_endpoint(dialect), "small", PAIR, CODE)
        body = json.loads(request.body)
        assert (request.path, request.headers) == (path, dialect.probe_headers)
        assert json.loads(body["messages"][-1]["content"])["answer_2"] == "It is."
        assert CODE in (body.get("system") or body["messages"][0]["content"])
    reply = json.dumps({"content": [{"type": "text", "text": f"no-{CODE}"}]}).encode()
    assert read_verdict(judge_endpoint(ANTHROPIC), reply, CODE) is False
    assert judge_endpoint(DIALECTS["replicate"]) is None
