"""Conversations whose last turns are alike and whose earlier turns are not: what the whole product serves across them.

Each trap is a pair of requests. The last user turn of the second is that of the first, another spelling of it, or a paraphrase; what
came before differs so that another answer is wanted. Controls differ in the last turn only: they must be served, or the traps prove
nothing. The namespace takes the laxest rule that there is, any cosine from .60 on, so that only the partition is between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]
Turns = tuple[str, ...]

#: (asked first, the same in another spelling, a paraphrase).
LAST_TURNS: Final = (
    ("How do I reset it?", "how do i reset it", "What is the way to reset it?"),
    ("Is that safe?", "is that safe??", "Would that be safe?"),
    ("How much does it cost?", "how much does it cost", "What does it cost?"),
    ("Can you show me an example?", "can you show me an example", "Please give me an example."),
    ("Which one should I choose?", "which one should i choose", "Which one would you choose?"),
    ("Summarise this for me.", "summarise this for me", "Give me a summary of this."),
)
#: (earlier turns of the first, of the second), users' turns first and by turns; of all of which the answer depends.
HISTORIES: Final[dict[str, tuple[tuple[Turns, Turns], ...]]] = {
    "another subject": (
        (("I talk about the router.", "Noted."), ("I talk about my bank account.", "Noted.")),
        (("My question is about the red server.", "Go on."), ("My question is about the blue server.", "Go on.")),
    ),
    "a negation earlier": (
        (("I am allergic to nuts.", "I see."), ("I am not allergic to nuts.", "I see.")),
        (("The backup has run.", "Good."), ("The backup has not run.", "Good.")),
    ),
    "a number earlier": (
        (("We have 3 servers.", "All right."), ("We have 30 servers.", "All right.")),
        (("The invoice is number 4711.", "Thank you."), ("The invoice is number 4712.", "Thank you.")),
    ),
    "another answer of the assistant": (
        (("Red or blue?", "Take the red one."), ("Red or blue?", "Take the blue one.")),
        (("Is it switched off?", "Yes."), ("Is it switched off?", "No.")),
    ),
    "the same turns in another order": (
        (("First Rome.", "Good.", "Then Oslo.", "Good."), ("Then Oslo.", "Good.", "First Rome.", "Good.")),
        (("Alice pays Bob.", "Yes.", "Bob pays Eve.", "Yes."), ("Bob pays Eve.", "Yes.", "Alice pays Bob.", "Yes.")),
    ),
    "a turn more": (
        (("I use a laptop.", "Good."), ("I use a laptop.", "Good.", "Sorry, I meant a phone.", "I see.")),
        ((), ("I talk about my old car.", "Noted.")),
    ),
    "one word in a long history": (
        (("We run " + "a long and quite ordinary service, " * 40 + "on Linux.", "Noted."),
         ("We run " + "a long and quite ordinary service, " * 40 + "on Windows.", "Noted.")),
        (("Our contract says that " + "the parties agree on many things, " * 40 + "and we may cancel.", "I have read it."),
         ("Our contract says that " + "the parties agree on many things, " * 40 + "and they may cancel.", "I have read it.")),
    ),
}  # fmt: skip
#: Two system prompts, for the trap where only that differs.
SYSTEMS: Final = ("You answer for adults.", "You answer for children.")


@dataclass(frozen=True, slots=True)
class Case:
    """Two requests of one form. `is_trap`: the second must not get the first one's answer."""

    form: str
    kind: str
    path: str
    first: Json
    second: Json
    is_trap: bool
    #: Of the namespace that both are asked in, and nothing else.
    number: int


def cases() -> Iterator[Case]:
    """Return every case."""
    number = 0
    for form, (path, build) in FORMS.items():
        for kind, pairs in {**HISTORIES, SYSTEM: (((), ()),), CONTROL: _CONTROLS}.items():
            for one, other in pairs:
                for asked, *again in LAST_TURNS:
                    # A control must differ in something; a trap may end with the very same words.
                    for last in again if kind == CONTROL else (asked, *again):
                        number += 1
                        first = build((*one, asked), SYSTEMS[0])
                        second = build((*other, last), SYSTEMS[kind == SYSTEM])
                        yield Case(form, kind, path, first, second, kind != CONTROL, number)


SYSTEM: Final = "another system prompt"
CONTROL: Final = "the same history (control)"
_CONTROLS: Final = ((("I talk about the router.", "Noted."),) * 2,)


def _roles(turns: Sequence[str]) -> list[Json]:
    return [{"role": "assistant" if at % 2 else "user", "content": turn} for at, turn in enumerate(turns)]


def _chat(turns: Turns, system: str) -> Json:
    return {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": system}, *_roles(turns)]}


def _chat_in_parts(turns: Turns, system: str) -> Json:
    parts = [{**turn, "content": [{"type": "text", "text": turn["content"]}]} for turn in _roles(turns)]
    return {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": system}, *parts]}


def _responses(turns: Turns, system: str) -> Json:
    return {"model": "gpt-4o-mini", "instructions": system, "input": _roles(turns)}


def _messages(turns: Turns, system: str) -> Json:
    return {"model": "claude-sonnet-4-6", "max_tokens": 50, "system": system, "messages": _roles(turns)}


def _transcript(turns: Turns, system: str) -> str:
    said = [f"{'Assistant' if at % 2 else 'User'}: {turn}" for at, turn in enumerate(turns)]
    return "\n".join([system, *said, "Assistant:"])


def _completion(turns: Turns, system: str) -> Json:
    return {"model": "gpt-3.5-turbo-instruct", "prompt": _transcript(turns, system)}


def _one_message(turns: Turns, system: str) -> Json:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": _transcript(turns, system)}]}


#: form -> (path, what builds its body of turns and a system prompt).
FORMS: Final[dict[str, tuple[str, Callable[[Turns, str], Json]]]] = {
    "chat completions": ("/openai/v1/chat/completions", _chat),
    "chat completions, content in parts": ("/openai/v1/chat/completions", _chat_in_parts),
    "chat completions at another provider": ("/together/v1/chat/completions", _chat),
    "responses": ("/openai/v1/responses", _responses),
    "messages": ("/anthropic/v1/messages", _messages),
    "completions, a transcript": ("/openai/v1/completions", _completion),
    "chat completions, a transcript in one message": ("/openai/v1/chat/completions", _one_message),
}
