"""The built-in embedder's files, made once for all tests of this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path

from agentcache.engine.semantic.embedders.minilm_files import MODEL_DIGEST, ensure_files


def models_folder() -> Path:
    """Return a folder with the files; the first test that asks makes them, which takes some seconds."""
    folder = Path(tempfile.gettempdir()) / f"agentcache-test-models-{MODEL_DIGEST[:12]}"
    ensure_files(folder)
    return folder


def lend_models(data_dir: Path) -> None:
    """Give a data directory the files without making them again."""
    data_dir.mkdir(parents=True, exist_ok=True)
    if not (data_dir / "models").exists():
        (data_dir / "models").symlink_to(models_folder(), target_is_directory=True)
