"""What an answer says as text, and whether two answers say the same. Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.verifier import Verifier
from agentcache.engine.semantic.vetoes import veto
from agentcache.providers.dialect import Endpoint, Json
from agentcache.providers.reading import items, members
from agentcache.providers.sse import SSEParser

#: Of longer answers only the beginning is compared: about 128 tokens, 15 ms of a core each.
COMPARED_CHARS_MAX: Final = 600
#: From here on two answers say the same, and below the other they do not; between them nothing is decided.
AGREED_FROM: Final = 0.90
DISAGREED_BELOW: Final = 0.70
#: Answers so short are compared as closely as questions are: a word decides.
SHORT_WORDS: Final = 40
_SAYS_YES: Final = frozenset({"yes", "yep", "yeah", "correct", "true", "right"})
_SAYS_NO: Final = frozenset({"no", "nope", "not", "incorrect", "false", "wrong"})


def answer_text(endpoint: str, answer: Json) -> str | None:
    """Return what an answer says; None where it is not text alone, as with tool calls: those are not shared."""
    if endpoint == "chat.completions":
        found = _chat_text(answer)
    elif endpoint == "completions":
        choices = items(answer.get("choices"))
        text = members(choices[0]).get("text") if len(choices) == 1 else None
        found = text if isinstance(text, str) else None
    elif endpoint == "messages":
        found = _joined(items(answer.get("content")), "text", ignored=("thinking", "redacted_thinking"))
    elif endpoint == "responses":
        found = _response_text(answer)
    else:
        found = None
    return found if found and found.strip() else None


def _chat_text(answer: Json) -> str | None:
    choices = items(answer.get("choices"))
    message = members(members(choices[0]).get("message")) if len(choices) == 1 else {}
    if message.get("tool_calls") or message.get("function_call") or message.get("refusal") or message.get("audio"):
        return None
    content = message.get("content")
    return content if isinstance(content, str) else None


def _response_text(answer: Json) -> str | None:
    texts = []
    for item in items(answer.get("output")):
        kind = members(item).get("type")
        if kind == "reasoning":
            continue
        text = _joined(items(members(item).get("content")), "output_text") if kind == "message" else None
        if text is None:
            return None
        texts.append(text)
    return "\n".join(texts) if texts else None


def _joined(parts: list[object], kind: str, ignored: tuple[str, ...] = ()) -> str | None:
    texts = []
    for part in parts:
        found = members(part)
        if found.get("type") in ignored:
            continue
        if found.get("type") != kind or not isinstance(found.get("text"), str):
            return None
        texts.append(found["text"])
    return "".join(texts) if texts else None


def stored_answer(endpoint: Endpoint, entry: Entry) -> Json | None:
    """Return the plain answer that an entry holds; None where it is none."""
    if entry.meta.streamed:
        if endpoint.stream is None:
            return None
        joiner = endpoint.stream.joiner()
        for event in SSEParser(len(entry.body) + 1).feed(entry.body):
            joiner.add(event)
        return joiner.answer() if joiner.finished else None
    try:
        answer = msgspec.json.decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return answer if type(answer) is dict else None


def compare_at_once(one: str, other: str) -> tuple[bool | None, str]:
    """Say whether two answers agree, and by what, as far as the texts alone tell: (None, "") where they do not."""
    if normalised(one) == normalised(other):
        return True, "normalised"
    first, second = _stance(one), _stance(other)
    if first is not None and second is not None and first is not second:
        return False, "normalised"
    return None, ""


def compare_by_meaning(one: str, other: str, cosine: float, verifier: Verifier) -> tuple[bool | None, str]:
    """Say whether two answers agree by the likeness of their vectors; undecided is (None, "embedding").

    Short ones are held to what questions are held to, for there a digit or a "not" is the answer.
    """
    if cosine < DISAGREED_BELOW:
        return False, "embedding"
    if len(one.split()) <= SHORT_WORDS and len(other.split()) <= SHORT_WORDS:
        ours, theirs = analyse(one), analyse(other)
        if veto(ours, theirs) is not None:
            return False, "embedding"
        is_same = verifier.score(pair_features(ours, theirs, cosine, 0.0)) >= verifier.balanced_threshold
        return (True if is_same else None), "embedding"
    return (True if cosine >= AGREED_FROM else None), "embedding"


def _stance(text: str) -> bool | None:
    words = text.lower().replace(",", " ").replace(".", " ").replace("!", " ").split(None, 1)
    if not words:
        return None
    return True if words[0] in _SAYS_YES else False if words[0] in _SAYS_NO else None
