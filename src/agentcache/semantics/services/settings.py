"""Settings of namespaces: keep them, take them away."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from agentcache.audit.services import Actor
from agentcache.engine.semantic.embedders.port import SemanticNotInstalled
from agentcache.semantics.drafts import SettingsDraft, checked, checked_namespace
from agentcache.semantics.errors import SemanticsChanged, SemanticsNotFound, TooManyNamespaces
from agentcache.semantics.measuring import missing
from agentcache.semantics.models import Mode, NamespaceSettings
from agentcache.semantics.services.learning import relearn
from agentcache.semantics.services.noting import note_change
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

NAMESPACES_MAX = 200


def save_settings(
    team: Team, namespace: str, draft: SettingsDraft, *, actor: Actor, based_on: int | None = None
) -> NamespaceSettings:
    """Keep a namespace's settings in place of its former ones.

    Raises `InvalidSemantics`, `TooManyNamespaces`, `SemanticNotInstalled` for a mode that this server cannot do, and
    `SemanticsChanged` where `based_on`, the revision that the caller has seen (0 for none), is not the one in force.
    """
    namespace, draft = checked_namespace(namespace), checked(draft)
    if draft.mode != Mode.OFF and (problem := missing()):
        raise SemanticNotInstalled(problem, param="mode")
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        row = rows_of(locked, NamespaceSettings).filter(namespace=namespace).first()
        if based_on is not None and based_on != (row.revision if row is not None else 0):
            raise SemanticsChanged
        former = None if row is None else SettingsDraft.of(row)
        if row is not None and former == draft:
            return row
        if row is None:
            if rows_of(locked, NamespaceSettings).count() >= NAMESPACES_MAX:
                raise TooManyNamespaces
            row = NamespaceSettings(team=locked, namespace=namespace)
        else:
            row.revision += 1
        for name, value in draft.as_document().items():
            setattr(row, name, value)
        row.changed_at = timezone.now()
        row.changed_by = actor.shown
        row.save(force_insert=former is None)
        note_change("semantics.changed", row, actor, before=former, after=draft)
        relearn(locked, row.changed_at)
    return row


def remove_settings(team: Team, namespace: str, *, actor: Actor) -> None:
    """Leave a namespace to the settings of every other one. Raises `SemanticsNotFound`."""
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        row = rows_of(locked, NamespaceSettings).filter(namespace=namespace).first()
        if row is None:
            raise SemanticsNotFound(param="namespace")
        note_change("semantics.removed", row, actor, before=SettingsDraft.of(row), after=None)
        row.delete()
        relearn(locked, timezone.now())
