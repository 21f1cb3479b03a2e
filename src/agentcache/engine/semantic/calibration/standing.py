"""Whether near questions are served by the embedder that the settings name, in words: for pages and `agentcache doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from agentcache.engine.semantic.calibration.keeping import Calibration, last_used, read_kept
from agentcache.engine.semantic.embedders.opening import BUILT_IN, open_embedder
from agentcache.settings import Settings

_ABOUT: Final = "AGENTCACHE_SEMANTIC_EMBEDDER"


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of an embedder that is not the one that ships."""

    word: Literal["fit", "unfit", "uncalibrated"]
    #: In one sentence.
    found: str
    #: What the operator can do; "" where nothing is to be done.
    mend: str = ""
    calibration: Calibration | None = None


def standing_of(settings: Settings, embedder_id: str = "") -> Standing | None:
    """Return what holds of the settings' embedder; None for the one that ships and where there is none. Reads small files.

    `embedder_id` is its id now; without it the model speaks for it that was used last under its name.
    """
    if settings.semantic_embedder in (BUILT_IN, "off"):
        return None
    embedder = open_embedder(settings)
    assert embedder is not None
    if embedder_id:
        kept = read_kept(settings.calibrations_dir, embedder_id)
    else:
        # Before it is used an id has no fingerprint of the model.
        kept = last_used(settings.calibrations_dir, embedder.id)
    if kept is None:
        return Standing(
            "uncalibrated",
            "The embedder is not calibrated yet: nothing is served by its cosines.",
            "The first question that is looked up begins it, in the background. The log says embedder_not_calibrated where it fails.",
        )
    if kept.unfit:
        return Standing(
            "unfit",
            f"The embedder is not fit: {kept.unfit} ({kept.agreement.told}). Near questions are compared, and none is served by it.",
            f"Take another model for {_ABOUT}, or the built-in one ({BUILT_IN}).",
            kept,
        )
    return Standing("fit", f"The embedder is calibrated and fit ({kept.agreement.told}).", calibration=kept)
