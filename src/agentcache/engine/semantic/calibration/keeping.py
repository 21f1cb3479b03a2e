"""Calibrations on disk: one small file for each model, which all workers of the machine read.

    <folder>/<digest of the embedder's id>.json

Of another release's pairs, damaged or missing are all the same: the embedder is calibrated again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import msgspec

from agentcache.engine.semantic.calibration.fitting import Agreement, Scale, why_unfit
from agentcache.engine.semantic.calibration.pairs import load_pairs

#: Of more models than these the ones that were used longest ago go: a service that changes its model ever again fills no disk.
KEPT_MAX: Final = 50


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known of an embedder: how its cosines are read, and how far they can be trusted."""

    #: Id of the embedder: model, address and fingerprint.
    embedder: str
    #: Digest of the pairs that it was calibrated by.
    pairs: str
    scale: Scale
    agreement: Agreement
    #: Unix seconds.
    made_at: float

    @property
    def unfit(self) -> str:
        """Why nothing is served by the embedder, in a few words; "" where it is fit."""
        return why_unfit(self.agreement)


_decode: Final = msgspec.json.Decoder(Calibration).decode


def read_kept(folder: Path, embedder_id: str) -> Calibration | None:
    """Return the calibration of an embedder; None where there is none that holds. Blocks for a fraction of a millisecond."""
    path = _path(folder, embedder_id)
    found = _read(path)
    if found is None or found.embedder != embedder_id:
        return None
    # Tells which was used last, which a folder that cannot be written to need not know.
    with contextlib.suppress(OSError):
        os.utime(path)
    return found


def keep(folder: Path, calibration: Calibration) -> None:
    """Keep a calibration in place of a former one. Blocks; raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in folder.glob(".making-*"):
        # Of a process that was killed: one writes at a time.
        leftover.unlink(missing_ok=True)
    with NamedTemporaryFile("wb", dir=folder, prefix=".making-", delete=False) as draft:
        draft.write(msgspec.json.encode(calibration))
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(_path(folder, calibration.embedder))
    for path in _by_use(folder)[KEPT_MAX:]:
        path.unlink(missing_ok=True)


def last_used(folder: Path, id_begin: str) -> Calibration | None:
    """Return the calibration that was used last among those of embedders whose id begins so; None without one. Blocks."""
    found = (_read(path) for path in _by_use(folder))
    return next((one for one in found if one is not None and one.embedder.startswith(id_begin)), None)


def _read(path: Path) -> Calibration | None:
    try:
        found = _decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return found if found.pairs == load_pairs().digest and found.scale.is_sound else None


def _by_use(folder: Path) -> list[Path]:
    def used(paths: Iterator[Path]) -> Iterator[tuple[float, Path]]:
        for path in paths:
            try:
                yield path.stat().st_mtime, path
            except FileNotFoundError:
                # Another worker was quicker to remove it.
                continue

    return [path for _, path in sorted(used(folder.glob("*.json")), reverse=True)]


def _path(folder: Path, embedder_id: str) -> Path:
    return folder / f"{hashlib.sha256(embedder_id.encode()).hexdigest()[:32]}.json"
