"""Makes the int8 model of MiniLM-L6-v2 out of its published weights: no torch, no network, the same bytes everywhere.

Weight matrices become int8 with one scale per output channel, the word table int8 with one scale per word; inputs of
the products are quantised as they come. Positions, biases and normalisation stay float32. Pooling (mean over the
words) and unit length are part of the model.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from agentcache.engine.semantic.embedders.onnx_writing import RUNTIME_DOMAIN, Graph

Floats = np.ndarray[Any, np.dtype[np.float32]]

DIMENSIONS: Final = 384
LAYERS: Final = 6
#: After which layers each token is given out in its sentence: what is learned of both tells more than of the last alone.
PLACED_LAYERS: Final = (4, 6)
HEADS: Final = 12
EPSILON: Final = 1e-12
#: Words and word pieces that the model was trained for; more are cut off. The table of positions is cut accordingly.
TOKENS_MAX: Final = 256


def read_safetensors(raw: bytes) -> dict[str, Floats]:
    """Return the float32 tensors of a safetensors file by name; `ValueError` when it is not one."""
    try:
        header_end = 8 + int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8:header_end])
        tensors = {}
        for name, entry in header.items():
            if name != "__metadata__" and entry["dtype"] == "F32":
                begin, end = entry["data_offsets"]
                flat = np.frombuffer(raw, "<f4", (end - begin) // 4, header_end + begin)
                tensors[name] = flat.reshape(entry["shape"]).astype(np.float32, copy=False)
    except (ValueError, KeyError, TypeError) as wrong:
        raise ValueError(f"not a safetensors file: {wrong}") from wrong
    return tensors


def export_int8(tensors: dict[str, Floats]) -> bytes:
    """Return the ONNX file: ids `[texts, tokens]` of texts of one length in, unit vectors `[texts, 384]` and layers of each token out.

    Those are `PLACED_LAYERS`, one behind the other: `[texts, tokens, 384 * layers]`.
    """
    graph = Graph()
    hidden = _embeddings(graph, tensors)
    placed = []
    for number in range(LAYERS):
        hidden = _layer(graph, tensors, f"encoder.layer.{number}.", hidden)
        if number + 1 in PLACED_LAYERS:
            placed.append(hidden)
    _pooled(graph, hidden)
    graph.output("Concat", placed, "hidden", axis=-1)
    hidden_shape = ("texts", "tokens", len(PLACED_LAYERS) * DIMENSIONS)
    return graph.model(
        [("ids", "int64", ("texts", "tokens"))], [("vectors", ("texts", DIMENSIONS)), ("hidden", hidden_shape)]
    )


def _quantised(matrix: Floats, axis: int) -> tuple[np.ndarray[Any, np.dtype[np.int8]], Floats]:
    """Return int8 values and the scales along the other axis; symmetric, zero is zero."""
    peak = np.maximum(np.abs(matrix).max(axis=axis, keepdims=True), np.float32(1e-12))
    scale = (peak / np.float32(127)).astype(np.float32)
    return np.rint(matrix / scale).clip(-127, 127).astype(np.int8), scale


def _embeddings(graph: Graph, tensors: dict[str, Floats]) -> str:
    words, scales = _quantised(tensors["embeddings.word_embeddings.weight"], axis=1)
    # There is one segment only, so that its row is part of every position.
    places = tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][0]
    (rows,) = graph.node("Gather", [graph.constant(words), "ids"])
    (row_scales,) = graph.node("Gather", [graph.constant(scales), "ids"])
    (floats,) = graph.node("Cast", [rows], to=1)
    (scaled,) = graph.node("Mul", [floats, row_scales])
    (shape,) = graph.node("Shape", ["ids"], start=1)
    first = graph.constant(np.array([0], np.int64))
    (used,) = graph.node("Slice", [graph.constant(places[:TOKENS_MAX]), first, shape, first])
    (placed,) = graph.node("Add", [scaled, used])
    gain, offset = (graph.constant(tensors[f"embeddings.LayerNorm.{name}"]) for name in ("weight", "bias"))
    return graph.node("LayerNormalization", [placed, gain, offset], axis=-1, epsilon=EPSILON)[0]


def _product(graph: Graph, hidden: str, weights: Floats, bias: Floats) -> str:
    """Add `hidden @ weights.T + bias`, the weights stored as torch stores them: `[out, in]`."""
    values, scales = _quantised(np.ascontiguousarray(weights.T), axis=0)
    inputs = [hidden, graph.constant(values), graph.constant(scales[0]), "", graph.constant(bias)]
    return graph.node("DynamicQuantizeMatMul", inputs, domain=RUNTIME_DOMAIN)[0]


def _normalised_sum(graph: Graph, tensors: dict[str, Floats], prefix: str, left: str, right: str) -> str:
    gain, offset = (graph.constant(tensors[f"{prefix}.LayerNorm.{name}"]) for name in ("weight", "bias"))
    # The runtime has one operator for both, with which the whole model takes a seventh longer.
    (total,) = graph.node("Add", [left, right])
    return graph.node("LayerNormalization", [total, gain, offset], axis=-1, epsilon=EPSILON)[0]


def _layer(graph: Graph, tensors: dict[str, Floats], prefix: str, hidden: str) -> str:
    def dense(name: str, of: str) -> str:
        return _product(graph, of, tensors[f"{prefix}{name}.weight"], tensors[f"{prefix}{name}.bias"])

    parts = [f"{prefix}attention.self.{name}" for name in ("query", "key", "value")]
    joined = _product(
        graph,
        hidden,
        np.concatenate([tensors[f"{part}.weight"] for part in parts]),
        np.concatenate([tensors[f"{part}.bias"] for part in parts]),
    )
    sizes = graph.constant(np.array([DIMENSIONS] * 3, np.int64))
    query, key, value = graph.node("Split", [joined, sizes], outputs=3, axis=-1)
    (context,) = graph.node("MultiHeadAttention", [query, key, value], domain=RUNTIME_DOMAIN, num_heads=HEADS)
    attended = dense("attention.output.dense", context)
    hidden = _normalised_sum(graph, tensors, f"{prefix}attention.output", attended, hidden)
    wide = dense("intermediate.dense", hidden)
    (bent,) = graph.node("Gelu", [wide], domain=RUNTIME_DOMAIN)
    return _normalised_sum(graph, tensors, f"{prefix}output", dense("output.dense", bent), hidden)


def _pooled(graph: Graph, hidden: str) -> None:
    middle = graph.constant(np.array([1], np.int64))
    # The mean and the sum point the same way, and only the direction is wanted.
    (total,) = graph.node("ReduceSum", [hidden, middle], keepdims=0)
    (length,) = graph.node("ReduceL2", [total], axes=[1], keepdims=1)
    graph.output("Div", [total, length], "vectors")
