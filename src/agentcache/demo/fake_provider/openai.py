"""What OpenAI offers besides text, and Together's own: embeddings, pictures, moderation, speech, reranking, models."""

from __future__ import annotations

import base64
import struct
import sys
import zlib
from array import array
from typing import Any

from agentcache.demo.fake_provider.answers import count_tokens, embedding_vector
from agentcache.demo.fake_provider.exchange import APIError, Exchange, Json, data_event, json_reply, named_event
from agentcache.demo.fake_provider.wire import Reply

MODELS = ("gpt-5.2", "gpt-5.2-mini", "gpt-4o", "gpt-4o-mini", "text-embedding-3-small", "text-embedding-3-large")
_DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}
_CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
_FLAGGED_WORDS = {"kill": "violence", "stab": "violence", "idiot": "harassment", "steal": "illicit"}


def create_embeddings(exchange: Exchange) -> Reply:
    """Answer `POST /v1/embeddings`; `base64` is float32 little-endian."""
    exchange.require("model", "input")
    body, together = exchange.body, exchange.dialect == "together"
    inputs = _embedding_inputs(body["input"])
    dimensions = body.get("dimensions") or _DIMENSIONS.get(body["model"], 768)
    vectors = [embedding_vector(text, dimensions, exchange.answer.canary) for text in inputs]
    # Together knows no encodings and always answers with numbers.
    packed = body.get("encoding_format") == "base64" and not together
    listed = [
        {"object": "embedding", "index": index, "embedding": _pack(vector) if packed else vector.tolist()}
        for index, vector in enumerate(vectors)
    ]
    answer: Json = {"object": "list", "data": listed, "model": body["model"]}
    if not together:
        tokens = sum(len(text.split()) + 1 for text in inputs)
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json_reply(answer)


def _embedding_inputs(given: Any) -> list[str]:
    items = given if isinstance(given, list) else [given]
    if items and isinstance(items[0], int):
        items = [items]
    if not items or len(items) > 2048:
        raise APIError(400, "'input' must have between 1 and 2048 items.", param="input")
    if any(not isinstance(item, str | list) or not item for item in items):
        raise APIError(400, "'input' contains an empty string or an item of the wrong type.", param="input")
    # Token arrays are texts of their own; the word keeps `[1, 2]` and `"1 2"` apart.
    return [item if isinstance(item, str) else "tokens " + " ".join(map(str, item)) for item in items]


def _pack(vector: array[float]) -> str:
    if sys.byteorder == "big":
        vector = vector[:]
        vector.byteswap()
    return base64.b64encode(vector.tobytes()).decode()


def make_picture(exchange: Exchange, position: int = 0) -> bytes:
    """Return a small PNG whose colour follows from the request; a text chunk names call and canary."""

    def part(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    answer, size = exchange.answer, 16
    colour = bytes(answer.digest[position % 29 + offset] for offset in range(3))
    rows = b"".join(b"\0" + colour * size for _ in range(size))
    note = f"Comment\0call {answer.call} canary:{answer.canary} picture {position}".encode()
    return (
        b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
        + part(b"tEXt", note) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
    )  # fmt: skip


def create_image(exchange: Exchange) -> Reply:
    """Answer `POST /v1/images/generations` and, for OpenAI, `/v1/images/edits` (multipart)."""
    body = exchange.body
    if not exchange.path.endswith("/edits"):
        exchange.require("prompt")
    pictures = [base64.b64encode(make_picture(exchange, n)).decode() for n in range(body.get("n") or 1)]
    if exchange.dialect == "together":
        return _together_image(exchange, pictures)
    tokens = count_tokens(body.get("prompt")) + 3
    usage = {
        "input_tokens": tokens, "input_tokens_details": {"text_tokens": tokens, "image_tokens": 0},
        "output_tokens": 196 * len(pictures), "total_tokens": tokens + 196 * len(pictures),
    }  # fmt: skip
    look = {"background": "opaque", "output_format": "png", "quality": "low", "size": body.get("size") or "1024x1024"}
    if body.get("stream"):
        return _stream_image(exchange, pictures, {**look, "created_at": int(exchange.now)}, usage)
    listed = [{"b64_json": picture} for picture in pictures]
    return json_reply({"created": int(exchange.now), "data": listed, **look, "usage": usage})


def _stream_image(exchange: Exchange, pictures: list[str], look: Json, usage: Json) -> Reply:
    events = []
    for index in range(exchange.body.get("partial_images") or 0):
        kind = "image_generation.partial_image"
        partial = {"type": kind, "b64_json": pictures[0], "partial_image_index": index, **look}
        events.append(named_event(kind, partial))
    if not exchange.script.no_terminal:
        kind = "image_generation.completed"
        events.append(named_event(kind, {"type": kind, "b64_json": pictures[0], **look, "usage": usage}))
    return Reply(content_type="text/event-stream; charset=utf-8", events=events)


def _together_image(exchange: Exchange, pictures: list[str]) -> Reply:
    listed: list[Json] = []
    for index, picture in enumerate(pictures):
        if exchange.body.get("response_format") == "base64":
            listed.append({"index": index, "type": "b64_json", "b64_json": picture})
        else:
            url = exchange.state.predictions.keep_file(
                exchange.state.base_url,
                f"{exchange.answer.id('img')}-{index}",
                "image/png",
                make_picture(exchange, index),
            )
            listed.append({"index": index, "type": "url", "url": url})
    model = exchange.body.get("model")
    return json_reply({"id": exchange.answer.id("img-"), "model": model, "object": "list", "data": listed})


def create_moderation(exchange: Exchange) -> Reply:
    """Answer `POST /v1/moderations`; a few plain words are flagged."""
    exchange.require("input")
    given = exchange.body["input"]
    texts = given if isinstance(given, list) else [given]
    results = []
    for text in texts:
        words = str(text).lower().split()
        flagged = {category for word, category in _FLAGGED_WORDS.items() if word in words}
        results.append({
            "flagged": bool(flagged),
            "categories": {name: name in flagged for name in _CATEGORIES},
            "category_scores": {name: 0.97 if name in flagged else 0.0001 for name in _CATEGORIES},
            "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
        })  # fmt: skip
    canary = f"canary:{exchange.answer.canary}-" if exchange.answer.canary else ""
    identifier = f"modr-{canary}{exchange.answer.id('')}"
    return json_reply({"id": identifier, "model": "omni-moderation-latest", "results": results})


def create_speech(exchange: Exchange) -> Reply:
    """Answer `POST /v1/audio/speech` with a short WAV whose samples follow from the request."""
    exchange.require("model", "input", "voice")
    answer = exchange.answer
    samples = b"".join(struct.pack("<h", (answer.digest[n % 32] - 128) * 64) for n in range(2400))
    note = f"call {answer.call} canary:{answer.canary}".encode().ljust(64)
    chunks = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 24000, 48000, 2, 16)
    chunks += b"note" + struct.pack("<I", len(note)) + note + b"data" + struct.pack("<I", len(samples)) + samples
    return Reply(body=b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks, content_type="audio/wav")


def create_transcription(exchange: Exchange) -> Reply:
    """Answer `POST /v1/audio/transcriptions` (multipart) and `/translations`."""
    usage = {"type": "duration", "seconds": 3}
    return json_reply({"text": exchange.text, "usage": usage})


def create_rerank(exchange: Exchange) -> Reply:
    """Answer Together's `POST /v1/rerank`: documents by the share of query words in them, then by position."""
    exchange.require("model", "query", "documents")
    body = exchange.body
    words = set(str(body["query"]).lower().split())
    ranked = []
    for index, document in enumerate(body["documents"]):
        text = _document_text(document, body.get("rank_fields"))
        found = set(text.lower().split())
        score = round((len(words & found) + 0.01) / (len(words) + 0.02), 6)
        result: Json = {"index": index, "relevance_score": score, "document": {}}
        if body.get("return_documents"):
            result["document"] = {"text": text}
        ranked.append(result)
    ranked.sort(key=lambda result: (-result["relevance_score"], result["index"]))
    tokens = count_tokens(body["documents"]) + count_tokens(body["query"])
    usage = {"prompt_tokens": tokens, "completion_tokens": 0, "total_tokens": tokens}
    answer = {"object": "rerank", "id": exchange.answer.id("rr-"), "model": body["model"]}
    return json_reply({**answer, "results": ranked[: body.get("top_n") or len(ranked)], "usage": usage})


def _document_text(document: Any, fields: list[str] | None) -> str:
    if isinstance(document, dict):
        return " ".join(str(document.get(name, "")) for name in fields or document)
    return str(document)


def list_models(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models`: a list object for OpenAI, a bare array for Together."""
    names = MODELS if exchange.dialect == "openai" else ("meta-llama/Llama-3.3-70B-Instruct-Turbo", "Qwen/Qwen3-32B")
    listed = [{"id": name, "object": "model", "created": 1_770_000_000, "owned_by": "fake"} for name in names]
    return json_reply({"object": "list", "data": listed} if exchange.dialect == "openai" else listed)


def get_model(exchange: Exchange) -> Reply:
    """Answer OpenAI's `GET /v1/models/{id}`."""
    name = exchange.parts["id"]
    if name not in MODELS:
        raise APIError(404, f"The model '{name}' does not exist.", code="model_not_found", param="model")
    return json_reply({"id": name, "object": "model", "created": 1_770_000_000, "owned_by": "fake"})


def whoami(exchange: Exchange) -> Reply:
    """Answer Together's `GET /v3/whoami`."""
    name = exchange.answer.canary or "demo"
    return json_reply({
        "type": "project_api_key", "api_key": {"id": f"key-{name}"}, "organization": {"id": "org-1", "name": "Demo"},
        "project": {"id": f"proj-{name}", "name": name, "slug": name},
    })  # fmt: skip


def stream_speech(exchange: Exchange) -> Reply:
    """Answer Together's `POST /v1/audio/speech`; with `stream` as events of base64 audio."""
    whole = create_speech(exchange)
    if not exchange.body.get("stream"):
        return whole
    parts = [whole.body[start : start + 1024] for start in range(0, len(whole.body), 1024)]
    chunk: Json = {"object": "audio.tts.chunk", "model": exchange.body["model"]}
    events = [data_event({**chunk, "b64": base64.b64encode(part).decode()}) for part in parts]
    return Reply(content_type="text/event-stream", events=[*events, b"data: [DONE]\n\n"])
