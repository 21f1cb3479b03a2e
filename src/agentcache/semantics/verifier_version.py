"""Which scores can be compared: those of one version of the verifier's model, or cosines."""

from __future__ import annotations

from typing import Final

from agentcache.engine.semantic.verifier import load_verifier
from agentcache.semantics.models import NamespaceSettings, VerifierKind

COSINE: Final = "cosine"


def version_for(settings: NamespaceSettings) -> str:
    """Return what gives the scores of a namespace with these settings."""
    return COSINE if settings.verifier == VerifierKind.COSINE else load_verifier().version
