"""Every read of semantic settings."""

from __future__ import annotations

from agentcache.semantics.errors import SemanticsNotFound
from agentcache.semantics.models import EVERY_NAMESPACE, NamespaceSettings
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of


def settings_of(team: Team) -> list[NamespaceSettings]:
    """Return the settings of the team's namespaces by name, those of every other one first."""
    rows = list(rows_of(team, NamespaceSettings).order_by("namespace"))
    return sorted(rows, key=lambda row: row.namespace != EVERY_NAMESPACE)


def get_settings(team: Team, namespace: str) -> NamespaceSettings:
    """Return the settings that a namespace has of its own. Raises `SemanticsNotFound`."""
    row = rows_of(team, NamespaceSettings).filter(namespace=namespace).first()
    if row is None:
        raise SemanticsNotFound(param="namespace")
    return row


def settings_in_force(team: Team, namespace: str) -> NamespaceSettings | None:
    """Return the settings that hold for a namespace: its own, or those of every other one."""
    rows = {row.namespace: row for row in rows_of(team, NamespaceSettings).filter(namespace__in=(namespace, "*"))}
    return rows.get(namespace) or rows.get(EVERY_NAMESPACE)
