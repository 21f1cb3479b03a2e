"""What of a request may be said in other words: the last user turn's text. All the rest must be equal, so it is a partition.

Pure. Two requests of one partition have the same dialect, endpoint, base URL, namespace, bucket, headers, model, parameters,
tools, system prompt and earlier turns: comparing last messages without those serves 97 to 100 % of conversation traps.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from agentcache.engine.canonical import canonical_bytes
from agentcache.engine.entries import Tenant
from agentcache.engine.keys import KeyMaterial
from agentcache.engine.policies import temperature_of

Json: TypeAlias = dict[str, Any]

#: Raised when what a partition is made from changes: rows of an older one are then never met.
PARTITION_VERSION: Final = 1
#: Longer texts are no questions; where they are cut into tokens decides a smaller number.
QUESTION_CHARS_MAX: Final = 4_000
#: Stands where the question stood. An object, which no dialect has there, so no text can imitate it.
_HERE: Final = {"question": PARTITION_VERSION}
_PARTITION_PREFIX: Final = b"semantic partition\x00"
_NORMAL_PREFIX: Final = b"semantic question\x00"
#: Kinds of content that are text of a turn, in any dialect.
_TEXT_KINDS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
#: Kinds of content, or of items, that are what a tool was asked or said.
_TOOL_WORDS: Final = ("tool", "function", "call", "mcp", "shell", "computer", "search")
#: What a reasoning model leaves in a conversation: kept equal like every earlier turn.
_THOUGHT_KINDS: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
#: Members that ask for several answers, for the question itself in the answer, or for the numbers behind it.
_SEVERAL: Final = ("n", "best_of")


@dataclass(frozen=True, slots=True)
class Question:
    """A request, taken apart."""

    #: What the last user turn says, as it was sent.
    text: str
    #: The request's body (without what is outside the key), a mark where the text stood.
    rest: Json


@dataclass(frozen=True, slots=True)
class NoQuestion:
    """A request that takes no part in semantic answers; `reason` is a stable snake_case word."""

    reason: str


def question_of(endpoint: str, body: Json, keyed: Json, *, allows_temperature: bool = False) -> Question | NoQuestion:
    """Take a request apart.

    `endpoint` is the name in the dialect's table, `body` as the caller sent it, `keyed` what of it is in the cache key
    (`KeyMaterial.body`): what a caller has left out of the key is in no partition either, but still tells what is unfit.
    """
    find = _FINDERS.get(endpoint)
    if find is None:
        return NoQuestion("endpoint")
    reason = _unfit(body, allows_temperature=allows_temperature)
    if reason:
        return NoQuestion(reason)
    found = find(keyed)
    if isinstance(found, Question):
        if not found.text.strip():
            return NoQuestion("no_question")
        if len(found.text) > QUESTION_CHARS_MAX:
            return NoQuestion("too_long")
    return found


def partition_of(tenant: Tenant, material: KeyMaterial, rest: Json) -> bytes:
    """Return the 32-byte partition of a request, keyed with the tenant's secret as cache keys are."""
    # The last part is the body.
    parts = [PARTITION_VERSION, *material.parts()[:-1], rest]
    return hmac.digest(tenant.key_secret, _PARTITION_PREFIX + canonical_bytes(parts), "sha256")


def normal_digest(tenant: Tenant, normalised: str) -> bytes:
    """Return the 32-byte digest of a question's normalised form, keyed with the tenant's secret."""
    return hmac.digest(tenant.key_secret, _NORMAL_PREFIX + normalised.encode("utf-8", "surrogatepass"), "sha256")


def _unfit(body: Json, *, allows_temperature: bool) -> str:
    temperature = temperature_of(body)
    if temperature is not None and temperature > 0 and not allows_temperature:
        return "temperature"
    if any(body.get(name) not in (None, 1) for name in _SEVERAL):
        return "several_answers"
    if body.get("echo"):
        return "echo"
    if body.get("logprobs") or body.get("top_logprobs"):
        return "logprobs"
    modalities = body.get("modalities")
    return "not_text" if body.get("audio") or modalities not in (None, ["text"]) else ""


def _in_messages(keyed: Json) -> Question | NoQuestion:
    return _in_turns(keyed, "messages")


def _in_input(keyed: Json) -> Question | NoQuestion:
    if isinstance(keyed.get("input"), str):
        return Question(keyed["input"], {**keyed, "input": _HERE})
    return _in_turns(keyed, "input")


def _in_prompt(keyed: Json) -> Question | NoQuestion:
    if keyed.get("suffix"):
        return NoQuestion("suffix")
    prompt = keyed.get("prompt")
    return Question(prompt, {**keyed, "prompt": _HERE}) if isinstance(prompt, str) else NoQuestion("no_question")


def _in_turns(keyed: Json, member: str) -> Question | NoQuestion:
    turns = keyed.get(member)
    if not isinstance(turns, list) or not turns or not all(type(turn) is dict for turn in turns):
        return NoQuestion("no_question")
    reason = next((word for turn in turns if (word := _unfit_turn(turn))), "")
    if reason:
        return NoQuestion(reason)
    last = turns[-1]
    if last.get("role") != "user":
        return NoQuestion("no_question")
    content = last.get("content")
    if isinstance(content, str):
        return Question(content, {**keyed, member: [*turns[:-1], {**last, "content": _HERE}]})
    # The parts before the last one, a document perhaps, must be equal like everything else.
    parts = content if isinstance(content, list) else []
    if not parts or not isinstance(parts[-1].get("text"), str):
        return NoQuestion("no_question")
    asked = {**parts[-1], "text": _HERE}
    return Question(parts[-1]["text"], {**keyed, member: [*turns[:-1], {**last, "content": [*parts[:-1], asked]}]})


def _unfit_turn(turn: Json) -> str:
    """Return why a conversation with this turn takes no part, or an empty string."""
    if turn.get("role") in ("tool", "function") or turn.get("tool_calls") or turn.get("function_call"):
        return "tool_results"
    kind = turn.get("type", "message")
    if kind != "message":
        return _unfit_kind(kind)
    content = turn.get("content")
    for part in content if isinstance(content, list) else []:
        if type(part) is not dict:
            return "not_text"
        reason = _unfit_kind(part.get("type", "text"))
        if reason:
            return reason
    return ""


def _unfit_kind(kind: object) -> str:
    if not isinstance(kind, str):
        return "not_text"
    if kind in _TEXT_KINDS or kind in _THOUGHT_KINDS:
        return ""
    return "tool_results" if any(word in kind for word in _TOOL_WORDS) else "not_text"


_FINDERS: Final[dict[str, Callable[[Json], Question | NoQuestion]]] = {
    "chat.completions": _in_messages,
    "messages": _in_messages,
    "responses": _in_input,
    "completions": _in_prompt,
}
