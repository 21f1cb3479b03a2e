"""Replicate: predictions that take a moment, models, deployments, files that expire."""

from __future__ import annotations

import math
import re
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b, sha256
from typing import Any
from urllib.parse import parse_qs

from agentcache.demo.fake_provider.answers import embedding_vector, pieces
from agentcache.demo.fake_provider.exchange import APIError, Exchange, Json, encode, json_reply
from agentcache.demo.fake_provider.openai import make_picture
from agentcache.demo.fake_provider.wire import Reply

FINAL = frozenset({"succeeded", "failed", "canceled", "aborted"})
PAGE_LENGTH = 100
#: Predictions kept before the oldest is forgotten.
KEPT_PREDICTIONS = 10_000
_FILE_NAME = re.compile(rb'filename="([^"]+)"')


@dataclass(slots=True)
class Prediction:
    """One prediction; its status follows from the time. Times are Unix seconds."""

    id: str
    model: str
    version: str
    given: Json
    output: Any
    final_status: str
    created_at: float
    seconds: float
    lifetime: float
    deployment: str = ""
    canceled_at: float = math.inf

    def status(self, now: float) -> str:
        """Return the status at a time: half the run is `starting`, the rest `processing`."""
        if self.canceled_at <= now:
            return "canceled"
        if now >= self.created_at + self.seconds:
            return self.final_status
        return "starting" if now < self.created_at + self.seconds / 2 else "processing"


@dataclass(slots=True)
class StoredFile:
    """Bytes behind a URL of ours; gone after `expires_at`."""

    content_type: str
    content: bytes
    expires_at: float
    name: str = ""
    uploaded: bool = False


@dataclass(slots=True)
class Predictions:
    """All predictions and files. `seconds` is how long a prediction takes, `file_lifetime` how long files live."""

    seconds: float
    file_lifetime: float
    made: dict[str, Prediction] = field(default_factory=dict)
    files: dict[str, StoredFile] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, prediction: Prediction) -> None:
        """Keep a prediction, forgetting the oldest when there are too many."""
        with self._lock:
            self.made[prediction.id] = prediction
            while len(self.made) > KEPT_PREDICTIONS:
                del self.made[next(iter(self.made))]

    def keep_file(self, base_url: str, name: str, content_type: str, content: bytes, lifetime: float = 0.0) -> str:
        """Keep bytes and return the URL where they can be fetched until they expire."""
        expires_at = time.time() + (lifetime or self.file_lifetime)
        with self._lock:
            self.files[name] = StoredFile(content_type, content, expires_at, name)
            while len(self.files) > KEPT_PREDICTIONS:
                del self.files[next(iter(self.files))]
        return f"{base_url}/files/{name}"

    def expire(self) -> None:
        """Let the time of every file and prediction be up."""
        with self._lock:
            for stored in self.files.values():
                stored.expires_at = 0.0
            for prediction in self.made.values():
                prediction.lifetime = 0.0


def _version_of(model: str) -> str:
    return blake2b(model.encode(), digest_size=32).hexdigest()


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


# -- predictions


def create_prediction(exchange: Exchange) -> Reply:
    """Answer `POST /v1/predictions`; `version` is a version id or `owner/name[:id]`."""
    version = exchange.body.get("version")
    if not isinstance(version, str) or not version:
        raise APIError(422, "- version is required")
    model, _, given = version.rpartition(":")
    if "/" in version and not model:
        model, given = version, _version_of(version)
    if not re.fullmatch(r"[0-9a-f]{64}", given):
        raise APIError(422, "The specified version does not exist (or perhaps you don't have permission to use it?)")
    return _create(exchange, model or "owner/model", given)


def create_model_prediction(exchange: Exchange) -> Reply:
    """Answer `POST /v1/models/{owner}/{name}/predictions`."""
    model = _model_name(exchange)
    return _create(exchange, model, _version_of(model))


def create_deployment_prediction(exchange: Exchange) -> Reply:
    """Answer `POST /v1/deployments/{owner}/{name}/predictions`."""
    model = _model_name(exchange)
    return _create(exchange, model, _version_of(model), deployment=model)


def _create(exchange: Exchange, model: str, version: str, deployment: str = "") -> Reply:
    given = exchange.body.get("input")
    if not isinstance(given, dict):
        raise APIError(422, "- input is required")
    script, predictions = exchange.script, exchange.state.predictions
    seconds = predictions.seconds if script.prediction_seconds is None else script.prediction_seconds
    prediction = Prediction(
        id=exchange.answer.id("p"),
        model=model,
        version=version,
        given=given,
        output=_make_output(exchange, model, given),
        final_status=script.prediction_status,
        created_at=exchange.now,
        seconds=seconds,
        lifetime=script.file_lifetime or predictions.file_lifetime,
        deployment=deployment,
    )
    predictions.add(prediction)
    patience = _patience(exchange.request.headers.get("prefer", ""))
    wait = min(patience, seconds)
    if not wait:
        return _prediction_reply(exchange, prediction, 201 if not patience and not seconds else 202)

    def late() -> Reply:
        reply = _prediction_reply(exchange, prediction, 201 if patience >= seconds else 202)
        reply.headers = early.headers
        return reply

    early = Reply(delay=wait, late=late)
    return early


def _patience(prefer: str) -> float:
    """Return the seconds that `Prefer: wait[=n]` allows, 60 without a number, 0 without `wait`."""
    found = re.search(r"\bwait(?:=(\d+))?", prefer)
    return min(float(found[1] or 60), 60.0) if found else 0.0


def _make_output(exchange: Exchange, model: str, given: Json) -> Any:
    script, name = exchange.script, model.rpartition("/")[2].lower()
    if script.output is not None:
        return script.output
    if "embed" in name:
        return embedding_vector(str(given), 384, exchange.answer.canary).tolist()
    if "upscal" in name or "remove" in name:
        return _keep_picture(exchange, 0)
    if "caption" in name:
        return {"caption": exchange.text, "preview": {"image": _keep_picture(exchange, 0)}}
    if any(part in name for part in ("flux", "sdxl", "image", "diffusion", "imagen")):
        return [_keep_picture(exchange, n) for n in range(int(given.get("num_outputs") or 1))]
    return pieces(exchange.text)


def _keep_picture(exchange: Exchange, position: int) -> str:
    name = f"{exchange.answer.id('f')}-out-{position}.png"
    lifetime = exchange.script.file_lifetime or 0.0
    keep = exchange.state.predictions.keep_file
    return keep(exchange.state.base_url, name, "image/png", make_picture(exchange, position), lifetime)


def _prediction_reply(exchange: Exchange, prediction: Prediction, status: int = 200) -> Reply:
    return json_reply(_shown(exchange, prediction), status)


def _shown(exchange: Exchange, prediction: Prediction) -> Json:
    now, base = time.time(), exchange.state.base_url
    status = prediction.status(now)
    started = prediction.created_at + prediction.seconds / 2
    final = status in FINAL
    removed = final and now > prediction.created_at + prediction.seconds + prediction.lifetime
    output = prediction.output
    if status == "processing" and isinstance(output, list) and output and isinstance(output[0], str):
        output = output[: len(output) // 2]
    elif status != "succeeded":
        output = None
    shown: Json = {
        "id": prediction.id,
        "model": prediction.model,
        "version": prediction.version,
        "input": {} if removed else prediction.given,
        "output": None if removed else output,
        "error": "The model raised an error." if status == "failed" else None,
        "logs": "" if removed or status == "starting" else f"Using seed: {prediction.given.get('seed', 4711)}\n",
        "status": status,
        "created_at": _stamp(prediction.created_at),
        "started_at": None if status == "starting" else _stamp(started),
        "completed_at": _stamp(prediction.created_at + prediction.seconds) if final else None,
        "data_removed": removed,
        "source": "api",
        "metrics": {"predict_time": prediction.seconds / 2, "total_time": prediction.seconds} if final else {},
        "urls": {
            "get": f"{base}/replicate/v1/predictions/{prediction.id}",
            "cancel": f"{base}/replicate/v1/predictions/{prediction.id}/cancel",
            "stream": f"{base}/stream/{prediction.id}",
            "web": f"{base}/p/{prediction.id}",
        },
    }
    if prediction.deployment:
        shown["deployment"] = prediction.deployment
    return shown


def _find(exchange: Exchange) -> Prediction:
    found = exchange.state.predictions.made.get(exchange.parts["id"])
    if found is None:
        raise APIError(404, "The requested resource could not be found.")
    return found


def get_prediction(exchange: Exchange) -> Reply:
    """Answer `GET /v1/predictions/{id}`."""
    return _prediction_reply(exchange, _find(exchange))


def cancel_prediction(exchange: Exchange) -> Reply:
    """Answer `POST /v1/predictions/{id}/cancel`; what has ended stays as it is."""
    prediction = _find(exchange)
    if prediction.status(time.time()) not in FINAL:
        prediction.canceled_at = time.time()
    return _prediction_reply(exchange, prediction)


def list_predictions(exchange: Exchange) -> Reply:
    """Answer `GET /v1/predictions`: newest first, 100 per page; `cursor` is a position."""
    start = int((parse_qs(exchange.request.query).get("cursor") or ["0"])[0])
    newest = list(reversed(exchange.state.predictions.made.values()))
    following = start + PAGE_LENGTH
    address = f"{exchange.state.base_url}/replicate/v1/predictions?cursor="
    return json_reply({
        "previous": f"{address}{max(start - PAGE_LENGTH, 0)}" if start else None,
        "next": f"{address}{following}" if following < len(newest) else None,
        "results": [_shown(exchange, prediction) for prediction in newest[start:following]],
    })  # fmt: skip


def stream_prediction(exchange: Exchange) -> Reply:
    """Answer `GET /stream/{id}`: `output` events with ids, then `done`."""
    prediction = _find(exchange)
    output = prediction.output if isinstance(prediction.output, list) else [prediction.output]
    events = [
        b"event: output\nid: %d:0\ndata: %b\n\n" % (number, b"\ndata: ".join(_plain(piece).split(b"\n")))
        for number, piece in enumerate(output)
    ]
    reason = {"failed": {"reason": "error"}, "canceled": {"reason": "canceled"}}.get(prediction.final_status, {})
    if not exchange.script.no_terminal:
        events.append(b"event: done\nid: %d:0\ndata: %b\n\n" % (len(events), encode(reason)))
    return Reply(content_type="text/event-stream", events=events)


def _plain(piece: Any) -> bytes:
    return piece.encode() if isinstance(piece, str) else encode(piece)


# -- models, deployments, account, files


def _model_name(exchange: Exchange) -> str:
    return f"{exchange.parts['owner']}/{exchange.parts['name']}"


def _version(model: str, version: str) -> Json:
    name = model.rpartition("/")[2].lower()
    output: Json = {"title": "Output", "type": "array", "items": {"type": "string"}}
    if not any(part in name for part in ("flux", "sdxl", "image", "diffusion", "embed", "upscal", "caption")):
        output |= {"x-cog-array-type": "iterator", "x-cog-array-display": "concatenate"}
    given = {"title": "Input", "type": "object", "required": ["prompt"], "properties": {
        "prompt": {"type": "string", "title": "Prompt", "x-order": 0},
        "seed": {"type": "integer", "title": "Seed", "x-order": 1},
    }}  # fmt: skip
    schemas = {"Input": given, "Output": output}
    schema = {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": schemas},
    }
    return {"id": version, "created_at": "2026-01-05T10:00:00Z", "cog_version": "0.16.8", "openapi_schema": schema}


def get_model(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models/{owner}/{name}`."""
    model = _model_name(exchange)
    if exchange.parts["name"].startswith("no-such-"):
        raise APIError(404, "The requested resource could not be found.")
    return json_reply({
        "url": f"{exchange.state.base_url}/{model}", "owner": exchange.parts["owner"], "name": exchange.parts["name"],
        "description": "A made-up model.", "visibility": "public", "github_url": None, "paper_url": None,
        "license_url": None, "run_count": 4711, "cover_image_url": None, "default_example": None,
        "latest_version": _version(model, _version_of(model)),
    })  # fmt: skip


def list_versions(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models/{owner}/{name}/versions`."""
    model = _model_name(exchange)
    return json_reply({"previous": None, "next": None, "results": [_version(model, _version_of(model))]})


def get_version(exchange: Exchange) -> Reply:
    """Answer `GET /v1/models/{owner}/{name}/versions/{id}`."""
    return json_reply(_version(_model_name(exchange), exchange.parts["id"]))


def _deployment(owner: str, name: str) -> Json:
    model = f"{owner}/{name}"
    release = {
        "number": 1, "model": model, "version": _version_of(model), "created_at": "2026-01-05T10:00:00Z",
        "created_by": {"type": "organization", "username": owner, "name": owner, "github_url": None},
        "configuration": {"hardware": "gpu-t4", "min_instances": 0, "max_instances": 1},
    }  # fmt: skip
    return {"owner": owner, "name": name, "current_release": release}


def get_deployment(exchange: Exchange) -> Reply:
    """Answer `GET /v1/deployments/{owner}/{name}`."""
    return json_reply(_deployment(exchange.parts["owner"], exchange.parts["name"]))


def list_deployments(_exchange: Exchange) -> Reply:
    """Answer `GET /v1/deployments`."""
    return json_reply({"previous": None, "next": None, "results": [_deployment("acme", "writer")]})


def get_account(exchange: Exchange) -> Reply:
    """Answer `GET /v1/account`; the username is the credential's canary."""
    name = exchange.answer.canary or "demo"
    return json_reply({"type": "user", "username": name, "name": name, "github_url": None})


def list_hardware(_exchange: Exchange) -> Reply:
    """Answer `GET /v1/hardware`."""
    return json_reply([{"name": "CPU", "sku": "cpu"}, {"name": "Nvidia T4 GPU", "sku": "gpu-t4"}])


def get_webhook_secret(_exchange: Exchange) -> Reply:
    """Answer `GET /v1/webhooks/default/secret`; nothing is ever signed with it."""
    return json_reply({"key": "whsec_ZmFrZS1wcm92aWRlci1zZWNyZXQ="})


def create_file(exchange: Exchange) -> Reply:
    """Answer `POST /v1/files`; keeps the multipart body as it came."""
    body = exchange.request.body
    found = _FILE_NAME.search(body)
    identifier = exchange.answer.id("file")
    stored = StoredFile(
        "application/octet-stream", body, time.time() + 86_400, found[1].decode() if found else "file", True
    )
    exchange.state.predictions.files[identifier] = stored
    return json_reply(_file(exchange, identifier, stored), 201)


def _file(exchange: Exchange, identifier: str, stored: StoredFile) -> Json:
    return {
        "id": identifier, "name": stored.name, "content_type": stored.content_type, "size": len(stored.content),
        "etag": identifier, "checksums": {"sha256": sha256(stored.content).hexdigest()}, "metadata": {},
        "created_at": _stamp(stored.expires_at - 86_400), "expires_at": _stamp(stored.expires_at),
        "urls": {"get": f"{exchange.state.base_url}/replicate/v1/files/{identifier}"},
    }  # fmt: skip


def get_file(exchange: Exchange) -> Reply:
    """Answer `GET /v1/files/{id}`."""
    return json_reply(_file(exchange, exchange.parts["id"], _stored_file(exchange)))


def delete_file(exchange: Exchange) -> Reply:
    """Answer `DELETE /v1/files/{id}`."""
    _stored_file(exchange)
    del exchange.state.predictions.files[exchange.parts["id"]]
    return Reply(204)


def fetch_file(exchange: Exchange) -> Reply:
    """Answer `GET /files/{id}`, the output file itself."""
    stored = _stored_file(exchange)
    return Reply(body=stored.content, content_type=stored.content_type)


def _stored_file(exchange: Exchange) -> StoredFile:
    stored = exchange.state.predictions.files.get(exchange.parts["id"])
    if stored is None or stored.expires_at < exchange.now:
        raise APIError(404, "The requested file could not be found.")
    return stored
