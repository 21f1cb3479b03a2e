"""The built-in embedder: made from the installed weights, the same everywhere, and off the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from agentcache.engine.semantic.embedders import minilm_files
from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.embedders.opening import open_embedder, why_not
from agentcache.engine.semantic.embedders.piece_ids import TOKENS_MAX
from agentcache.engine.semantic.embedders.port import (
    EmbedderUnavailable,
    SemanticNotInstalled,
    Vector,
    estimated_tokens,
)
from agentcache.engine.semantic.embedders.threaded import WAITING_MAX, ThreadedEmbedder
from agentcache.settings import Settings
from tests.support.semantic_models import lend_models, models_folder

PATIENT = 60.0


@pytest.fixture(scope="module")
def model() -> MinilmModel:
    model = MinilmModel(models_folder())
    model.load()
    return model


def settings_of(folder: Path, **more: str) -> Settings:
    return Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), **more})


@pytest.fixture
async def embedder(tmp_path: Path) -> AsyncIterator[GuardedEmbedder]:
    lend_models(tmp_path)
    embedder = open_embedder(settings_of(tmp_path))
    assert embedder is not None
    yield embedder
    await embedder.aclose()


def test_vectors_are_unit_and_tell_near_from_far(model: MinilmModel) -> None:
    asked, same, other = (
        model.embed_one(text)
        for text in ("How do I reset my password?", "What is the way to reset my password?", "How do I bake bread?")
    )
    assert asked.dtype == np.float32
    assert asked.shape == (384,)
    assert np.linalg.norm(asked) == pytest.approx(1, abs=1e-5)
    assert asked @ same > 0.9
    assert asked @ other < 0.4


def test_int8_says_nearly_what_float32_says(model: MinilmModel) -> None:
    """Beside the cosines of the published weights in float32, computed once with numpy alone."""
    pairs = {
        ("How do I reset my password?", "What is the way to reset my password?"): 0.9704,
        ("Translate this sentence into French.", "Translate this sentence into German."): 0.7959,
    }
    for (left, right), expected in pairs.items():
        assert model.embed_one(left) @ model.embed_one(right) == pytest.approx(expected, abs=0.03)


def test_tokens_are_counted_beyond_what_the_model_reads(model: MinilmModel) -> None:
    assert model.count_tokens("How do I reset my password?") == 7
    assert model.count_tokens("word " * 1000) == 1000
    assert model.count_tokens("") == 0
    long = model.embed_one("word " * 1000)
    assert np.linalg.norm(long) == pytest.approx(1, abs=1e-5)
    assert long @ model.embed_one("word " * (TOKENS_MAX - 2)) == pytest.approx(1, abs=1e-5)
    assert model.embed_one("").shape == (384,)
    assert estimated_tokens("How do I reset my password?") == pytest.approx(7, abs=2)


async def test_a_vector_depends_on_no_other_text(embedder: GuardedEmbedder) -> None:
    texts = [f"Question {number} {'about a longer matter ' * (number % 5)}" for number in range(12)]
    together = await embedder.embed(texts, seconds=PATIENT)
    alone = [(await embedder.embed([text], seconds=PATIENT))[0] for text in texts]
    assert all((one == other).all() for one, other in zip(together, alone, strict=True))
    many = await asyncio.gather(*(embedder.embed([text], seconds=PATIENT) for text in texts))
    assert all((one == other[0]).all() for one, other in zip(together, many, strict=True))


async def test_a_caller_that_gave_up_leaves_the_others_alone(embedder: GuardedEmbedder) -> None:
    await embedder.warm()
    tasks = [asyncio.create_task(embedder.embed([f"Question {n}"], seconds=PATIENT)) for n in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended[::2])
    assert all(isinstance(each, list) and len(each) == 1 for each in ended[1::2])


async def test_a_text_is_told_before_those_behind_it_are_done(model: MinilmModel) -> None:
    goes_on = threading.Event()

    class Halting(MinilmModel):
        def embed_one(self, text: str) -> Vector:
            assert text != "second" or goes_on.wait(60)
            return model.embed_one(text)

    embedder = ThreadedEmbedder(Halting(models_folder()))
    try:
        first, second = (asyncio.create_task(embedder.embed([text])) for text in ("first", "second"))
        assert len(await first) == 1
        assert not second.done()
        goes_on.set()
        assert len(await second) == 1
    finally:
        goes_on.set()
        await embedder.aclose()


async def test_too_many_waiting_texts_are_refused_at_once() -> None:
    embedder = ThreadedEmbedder(MinilmModel(models_folder()))
    try:
        with pytest.raises(EmbedderUnavailable, match="too many"):
            await embedder.embed(["text"] * (WAITING_MAX + 1))
    finally:
        await embedder.aclose()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        await embedder.embed(["text"])


async def test_loading_past_the_budget_is_no_trouble(tmp_path: Path) -> None:
    lend_models(tmp_path)
    embedder = open_embedder(settings_of(tmp_path, AGENTCACHE_SEMANTIC_BUDGET_MS="1"))
    assert embedder is not None
    try:
        for _ in range(4):
            with pytest.raises(EmbedderUnavailable):
                await embedder.embed(["How?"], seconds=0)
        assert embedder.breaker.lets_through
        await embedder.warm()
        assert len(await embedder.embed(["How?"], seconds=PATIENT)) == 1
    finally:
        await embedder.aclose()


def test_processes_that_start_together_make_one_model_in_place_of_an_earlier_build(tmp_path: Path) -> None:
    program = "import pathlib, sys; from agentcache.engine.semantic.embedders.minilm_files import ensure_files as e; e(pathlib.Path(sys.argv[1]))"
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "minilm-l6-v2-int8.onnx").write_bytes(b"of an earlier release")
    command = [sys.executable, "-c", program, str(folder)]
    source = str(Path(minilm_files.__file__).parents[4])
    started = [subprocess.Popen(command, env={"PYTHONPATH": source, "PATH": ""}) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert sorted(path.name for path in folder.iterdir()) == [minilm_files.MODEL_NAME, minilm_files.TOKENS_NAME]
    content = (folder / minilm_files.MODEL_NAME).read_bytes()
    assert hashlib.sha256(content).hexdigest() == minilm_files.MODEL_DIGEST


def test_a_damaged_model_is_not_used_and_made_again(tmp_path: Path) -> None:
    for name in (minilm_files.MODEL_NAME, minilm_files.TOKENS_NAME):
        (tmp_path / name).write_bytes((models_folder() / name).read_bytes())
    with (tmp_path / minilm_files.MODEL_NAME).open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\0\0\0")
    with pytest.raises(EmbedderUnavailable, match="damaged"):
        MinilmModel(tmp_path).load()
    assert not (tmp_path / minilm_files.MODEL_NAME).exists(), "so that the next try makes it"


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_files, "read_package", lambda: (b"other weights", b"{}"))
    with pytest.raises(EmbedderUnavailable, match="as published"):
        minilm_files.make_files(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not(settings_of(tmp_path)) is None
    assert "off" in (why_not(settings_of(tmp_path, AGENTCACHE_SEMANTIC_EMBEDDER="off")) or "")
    assert open_embedder(settings_of(tmp_path, AGENTCACHE_SEMANTIC_EMBEDDER="off")) is None
    elsewhere = {"AGENTCACHE_SEMANTIC_EMBEDDER": "sentence-transformers:all-mpnet-base-v2"}
    assert "sentence_transformers" in (why_not(settings_of(tmp_path, **elsewhere)) or "")
    monkeypatch.setattr(minilm_files, "_LIBRARIES", ("numpy", "no_such_runtime"))
    assert "no_such_runtime" in (why_not(settings_of(tmp_path)) or "")
    with pytest.raises(SemanticNotInstalled, match="agentcache-server\\[semantic\\]"):
        MinilmModel(tmp_path / "models").load()
