"""The settings of semantic look-ups that principals carry."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from django.db.models import Q

from agentcache.engine.semantic.risk_rule import parse_rule
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings
from agentcache.semantics.models import EVERY_NAMESPACE, Evidence, NamespaceSettings, VerifierKind
from agentcache.semantics.verifier_version import version_for
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_LEARNED: Final = Q(learned_threshold__isnull=False) | Q(learned_rule__isnull=False)
NONE: Final[Mapping[str, SemanticSettings]] = MappingProxyType({})


def semantics_of(team_id: str) -> Mapping[str, SemanticSettings]:
    """Return a team's settings by namespace, `*` for those that are not named: one look at an index without any.

    Each carries the threshold and the rule that the namespace's evidence allows, if they were learned for what the settings ask.
    """
    team = Team(id=team_id)
    rows = {row.namespace: row for row in rows_of(team, NamespaceSettings)}
    if not rows:
        return NONE
    found = {namespace: in_force(row) for namespace, row in rows.items()}
    for evidence in rows_of(team, Evidence).filter(_LEARNED):
        row = rows.get(evidence.namespace) or rows.get(EVERY_NAMESPACE)
        if row is not None and evidence.fits(version_for(row), row.target):
            found[evidence.namespace] = in_force(row, evidence)
    return MappingProxyType(found)


def in_force(row: NamespaceSettings, evidence: Evidence | None = None) -> SemanticSettings:
    """Return settings as the data plane has them; `evidence` was learned for them."""
    verifier: Literal["trees", "cosine"] = "cosine" if row.verifier == VerifierKind.COSINE else "trees"
    return SemanticSettings(
        mode=SemanticMode(row.mode),
        verifier=verifier,
        threshold=row.threshold,
        target=row.target,
        shadow_share=row.shadow_share,
        allows_temperature=row.allows_temperature,
        allows_time_bound=row.allows_time_bound,
        learned_threshold=evidence.learned_threshold if evidence is not None else None,
        learned_rule=parse_rule(evidence.learned_rule) if evidence is not None else None,
    )
