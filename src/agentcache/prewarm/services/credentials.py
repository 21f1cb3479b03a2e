"""Provider credentials: keep, test, delete, and open for the job that uses one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.kit.api_keys import looks_like_api_key
from agentcache.prewarm.errors import CredentialNotFound, CredentialRefused, InvalidCredential
from agentcache.prewarm.models import ProbeOutcome, ProviderCredential
from agentcache.prewarm.probing import Probe, probe
from agentcache.providers.dialect import Dialect
from agentcache.providers.registry import title_of
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

CREDENTIAL_CHARS_MIN = 8
CREDENTIAL_CHARS_MAX = 512

Prober = Callable[[Dialect, str], Probe]


def keep_credential(
    secrets: ServerSecrets, team: Team, dialect: Dialect, credential: str, *, actor: Actor, ask: Prober = probe
) -> ProviderCredential:
    """Test a credential and keep it in place of the former one, sealed for the team.

    Raises `InvalidCredential`, and `CredentialRefused` when the provider refuses it. One whose provider cannot be reached is
    kept, and says so.
    """
    credential = _checked(credential)
    said = ask(dialect, credential)
    if said.outcome is ProbeOutcome.REFUSED:
        raise CredentialRefused(
            f"{title_of(dialect.name)} refuses this credential (status {said.status}), so it was not kept.",
            param="credential",
        )
    with transaction.atomic():
        locked = Team.objects.select_for_update().get(pk=team.pk)
        row = rows_of(locked, ProviderCredential).filter(provider=dialect.name).first()
        is_new = row is None
        row = row or ProviderCredential(team=locked, provider=dialect.name)
        before = None if is_new else told(row)
        row.last_four = credential[-4:]
        row.sealed = secrets.seal_for_team(locked.pk, bytes(locked.wrapped_data_key), row.place, credential.encode())
        row.set_by = actor.shown
        row.set_at = timezone.now()
        _note_probe(row, said, row.set_at)
        row.save(force_insert=is_new)
        _note(f"credential.{'kept' if is_new else 'replaced'}", row, actor, before=before, after=told(row))
    return row


def test_credential(
    secrets: ServerSecrets, team: Team, dialect: Dialect, *, actor: Actor, ask: Prober = probe
) -> ProviderCredential:
    """Ask the provider whether it still takes the kept credential, and note what it says. Raises `CredentialNotFound`."""
    row = _find(team, dialect.name)
    said = ask(dialect, open_credential(secrets, team, row))
    with transaction.atomic():
        now = timezone.now()
        # One that was replaced meanwhile was tested then.
        current = rows_of(team, ProviderCredential).select_for_update().filter(pk=row.pk, set_at=row.set_at).first()
        if current is None:
            return _find(team, dialect.name)
        _note_probe(current, said, now)
        current.save(update_fields=["probe_outcome", "probe_status", "probed_at"])
        _note("credential.tested", current, actor, after={"outcome": said.outcome.value, "status": said.status})
    return current


def delete_credential(team: Team, provider: str, *, actor: Actor) -> None:
    """Delete a credential; what would use it fails from now on. Raises `CredentialNotFound`."""
    with transaction.atomic():
        row = rows_of(team, ProviderCredential).select_for_update().filter(provider=provider).first()
        if row is None:
            raise CredentialNotFound(param="provider")
        _note("credential.deleted", row, actor, before=told(row))
        row.delete()


def open_credential(secrets: ServerSecrets, team: Team, row: ProviderCredential) -> str:
    """Return the credential itself, for a call to its provider and nothing else."""
    return secrets.open_for_team(team.pk, bytes(team.wrapped_data_key), row.place, bytes(row.sealed)).decode()


def told(row: ProviderCredential) -> dict[str, object]:
    """Return what may be said of a credential."""
    return {"provider": row.provider, "ends_with": row.last_four}


def _find(team: Team, provider: str) -> ProviderCredential:
    row = rows_of(team, ProviderCredential).filter(provider=provider).first()
    if row is None:
        raise CredentialNotFound(param="provider")
    return row


def _checked(credential: str) -> str:
    credential = credential.strip()
    is_long_enough = CREDENTIAL_CHARS_MIN <= len(credential) <= CREDENTIAL_CHARS_MAX
    if not is_long_enough or not credential.isascii() or not credential.isprintable() or " " in credential:
        raise InvalidCredential(param="credential")
    if looks_like_api_key(credential):
        raise InvalidCredential("This is an AgentCache key, not a provider's credential.", param="credential")
    return credential


def _note_probe(row: ProviderCredential, said: Probe, now: datetime) -> None:
    row.probe_outcome, row.probe_status, row.probed_at = said.outcome, said.status, now


def _note(
    action: str,
    row: ProviderCredential,
    actor: Actor,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object] | None = None,
) -> None:
    audit.record(
        action=action,
        actor=actor,
        team_id=row.team_id,
        target_kind="provider credential",
        target_id=row.pk,
        target_name=row.provider,
        before=before,
        after=after,
    )
