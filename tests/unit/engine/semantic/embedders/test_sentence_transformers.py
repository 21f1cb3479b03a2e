"""The library itself, with a model made on the spot: 30 words, weights drawn by chance."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentcache.engine.semantic.embedders.guarded import GuardedEmbedder
from agentcache.engine.semantic.embedders.opening import open_embedder, why_not
from agentcache.engine.semantic.embedders.port import EmbedderUnavailable
from agentcache.settings import Settings

# Two gigabytes with PyTorch, for this one embedder: no requirement of the tests. `pip install sentence-transformers`
# into an environment of its own with constraints/test.txt runs them.
library: Any = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")

WORDS = (
    "[PAD] [UNK] [CLS] [SEP] [MASK] how do i can we you reset change my the our your password account team light is what a "
    "way to not on off ? ."
).split()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder, inner = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("inner")
    (inner / "vocab.txt").write_text("\n".join(WORDS))
    torch.manual_seed(1)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=64, **sizes)).save_pretrained(inner)
    BertTokenizerFast(vocab_file=str(inner / "vocab.txt")).save_pretrained(inner)
    layers = Transformer(str(inner), max_seq_length=64)
    library.SentenceTransformer(modules=[layers, Pooling(32)], device="cpu").save(str(folder))
    return folder


@pytest.fixture
async def embedder(model: Path, tmp_path: Path) -> AsyncIterator[GuardedEmbedder]:
    embedder = _opened(model, tmp_path)
    yield embedder
    await embedder.aclose()


def _opened(name: Path | str, data_dir: Path) -> GuardedEmbedder:
    environ = {"AGENTCACHE_DATA_DIR": str(data_dir), "AGENTCACHE_SEMANTIC_EMBEDDER": f"sentence-transformers:{name}"}
    settings = Settings.from_env(environ)
    assert why_not(settings) is None
    embedder = open_embedder(settings)
    assert embedder is not None
    return embedder


async def test_a_model_in_a_folder_gives_vectors_of_its_own(embedder: GuardedEmbedder, model: Path) -> None:
    assert embedder.count_tokens("How do I reset my password?") > 0, "an estimate, before it is loaded"
    await embedder.warm()
    one, same, other = await embedder.embed(
        ["How do I reset my password?", "how do i reset my password ?", "light off"]
    )
    assert embedder.dimensions == len(one) == 32
    assert embedder.id.startswith(f"sentence-transformers:{model}:")
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5)
    assert float(one @ same) == pytest.approx(1, abs=1e-5)
    assert float(one @ other) < 0.9999
    assert embedder.count_tokens("How do I reset my password?") == 7


async def test_texts_are_counted_while_others_are_embedded(embedder: GuardedEmbedder) -> None:
    await embedder.warm()
    texts = [f"How do I reset my password {'again ' * (number % 60)}?" for number in range(100)]
    waiting = asyncio.gather(*(embedder.embed([text], seconds=60) for text in texts))
    counted = 0
    while not waiting.done():
        counted += embedder.count_tokens("how do i reset my password " * 40) == 240
        await asyncio.sleep(0)
    assert counted
    assert len(await waiting) == 100


async def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    embedder = _opened(tmp_path / "nothing", tmp_path)
    with pytest.raises(EmbedderUnavailable, match="nothing cannot be loaded"):
        await embedder.warm()
    await embedder.aclose()
