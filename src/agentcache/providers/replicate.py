"""Replicate: predictions, which are created, then polled."""

from __future__ import annotations

import hashlib
from typing import Any

from agentcache.providers.dialect import COMPLETE, Dialect, Endpoint, Json, Kind, Usage, Verdict
from agentcache.providers.reading import members, word

#: How the caller wants to hear of the answer, not what it is.
_IGNORED = frozenset({"webhook", "webhook_events_filter", "stream"})


def key_body(body: Json) -> Json:
    """Return what of a create request identifies the prediction: delivery left out, inline files by their digest."""
    return {name: _digested(value) for name, value in body.items() if name not in _IGNORED}


def _digested(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("data:"):
        # An object, so that no string the caller can send is mistaken for it; `kind` keeps the media type apart.
        kind, _, content = value.partition(",")
        return {"data_url": {"kind": kind, "sha256": hashlib.sha256(content.encode()).hexdigest()}}
    if isinstance(value, dict):
        return {name: _digested(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_digested(member) for member in value]
    return value


def has_seed(model_input: Json) -> bool:
    """Say whether the model's input fixes the random seed; many models take -1 for a random one."""
    seed = model_input.get("seed")
    return isinstance(seed, int) and not isinstance(seed, bool) and seed >= 0


def judge_prediction(answer: Json) -> Verdict:
    """Accept a prediction that succeeded and whose output is still there."""
    status = word(answer.get("status"))
    if status in {"starting", "processing"}:
        return Verdict(False, "not_finished")
    if status in {"failed", "canceled", "aborted"}:
        return Verdict(False, status)
    if status != "succeeded":
        return Verdict(False, "malformed")
    if answer.get("error"):
        return Verdict(False, "error_in_body")
    if answer.get("data_removed"):
        return Verdict(False, "data_removed")
    return COMPLETE if answer.get("output") not in (None, "", []) else Verdict(False, "empty")


def prediction_usage(answer: Json) -> Usage:
    """Read the billed seconds, and tokens where a language model reports them."""
    metrics = members(answer.get("metrics"))
    seconds = metrics.get("predict_time")
    tokens = {name: metrics.get(f"{name}_token_count") for name in ("input", "output")}
    return Usage(
        input_tokens=tokens["input"] if isinstance(tokens["input"], int) else 0,
        output_tokens=tokens["output"] if isinstance(tokens["output"], int) else 0,
        predict_seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
    )


def _error(status: int, code: str, message: str, param: str | None) -> Json:
    problem: Json = {"title": code.replace("_", " ").capitalize(), "detail": message, "status": status, "code": code}
    return problem if param is None else {**problem, "param": param}


def _creates(name: str, path: str, model_member: str) -> Endpoint:
    return Endpoint(
        name=name,
        path=path,
        kind=Kind.PREDICTION,
        ignored=_IGNORED,
        judge=judge_prediction,
        usage=prediction_usage,
        model_member=model_member,
    )


DIALECT = Dialect(
    name="replicate",
    title="Replicate",
    upstream="https://api.replicate.com/v1",
    endpoints=(
        _creates("predictions", "/v1/predictions", "version"),
        _creates("models.predictions", "/v1/models/{owner}/{name}/predictions", "model"),
        _creates("deployments.predictions", "/v1/deployments/{owner}/{name}/predictions", "deployment"),
    ),
    error=_error,
    probe_path="/v1/account",
    free_posts=("/v1/files", "/v1/predictions/{id}/cancel", "/v1/trainings/{id}/cancel"),
    file_hosts=("replicate.delivery", "*.replicate.delivery"),
)
