"""Which scores can be compared: those of one version of the verifier's model, or cosines, each by cosines that are read alike."""

from __future__ import annotations

from typing import Final

from agentcache.engine.semantic.calibration.fitting import CALIBRATED
from agentcache.engine.semantic.embedders.opening import BUILT_IN
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.semantics.models import NamespaceSettings, VerifierKind
from agentcache.teams.secrets import current_settings

COSINE: Final = "cosine"


def version_for(settings: NamespaceSettings) -> str:
    """Return what gives the scores of a namespace with these settings, by the embedder that the server has."""
    version = COSINE if settings.verifier == VerifierKind.COSINE else load_verifier().version
    return version if current_settings().semantic_embedder in (BUILT_IN, "off") else version + CALIBRATED
