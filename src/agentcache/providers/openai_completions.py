"""Text completions, the older sibling of chat: `text` in place of a message."""

from __future__ import annotations

from agentcache.providers.dialect import COMPLETE, Json, Verdict
from agentcache.providers.openai_chat import judge_choices, merge_logprobs
from agentcache.providers.openai_chunks import ChunkStream
from agentcache.providers.reading import judge_ending, text_pieces


def judge_completion(answer: Json) -> Verdict:
    """Accept an answer whose every choice ended well and says something."""
    choices = judge_choices(answer)
    if isinstance(choices, Verdict):
        return choices
    for choice in choices:
        verdict = judge_ending(choice.get("finish_reason"))
        if not verdict.storable:
            return verdict
        if not isinstance(choice.get("text"), str):
            return Verdict(False, "malformed")
        if not choice["text"]:
            return Verdict(False, "empty")
    return COMPLETE


class TextChoices:
    """How the choices of a completions stream grow."""

    def add_choice(self, into: Json, choice: Json) -> None:
        """Merge one choice of a chunk."""
        text = choice.get("text")
        if text is not None:
            if not isinstance(text, str):
                raise ValueError("text is not a string")
            into.setdefault("text", []).append(text)
        merge_logprobs(into, choice)
        for name, value in choice.items():
            if name not in {"index", "text", "logprobs"} and (value is not None or name not in into):
                into[name] = value

    def finished_choice(self, choice: Json) -> Json:
        """Return the choice as a plain answer has it."""
        return {**choice, "text": "".join(choice.get("text", []))}


def split_text_choice(choice: Json) -> list[Json]:
    """Return the chunk choices that stream one choice of a plain answer."""
    index, text = choice.get("index", 0), choice.get("text")
    logprobs = choice.get("logprobs")
    # The parallel lists of `logprobs` cannot be cut with the text unless its tokens spell it.
    pieces = text_pieces(text) if isinstance(text, str) else []
    parts = [{"index": index, "text": piece, "logprobs": None, "finish_reason": None} for piece in pieces]
    ending = {name: value for name, value in choice.items() if name not in {"index", "text", "logprobs"}}
    if parts:
        parts[0]["logprobs"] = logprobs
        logprobs = None
    return [*parts, {"index": index, "text": "", "logprobs": logprobs, **ending}]


TEXT_STREAM = ChunkStream(
    plain_object="text_completion",
    chunk_object="text_completion",
    choices=TextChoices(),
    judge=judge_completion,
    split_choice=split_text_choice,
)
