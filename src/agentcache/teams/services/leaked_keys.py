"""Keys that were found in the open: revoked by their value, whoever reports them."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.kit.api_keys import is_well_formed
from agentcache.teams import queries
from agentcache.teams.models import FormerApiKey
from agentcache.teams.queries.api_keys import FoundApiKey
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import key_notices
from agentcache.teams.services.api_keys import revoke_api_key

_FOUND_AT_CHARS_MAX = 300


def revoke_leaked_key(secrets: ServerSecrets, api_key: str, found_at: str = "", *, actor: Actor) -> bool:
    """End a value that is known to strangers; return whether it was a key of ours, ended already or not.

    A former value of a rotated key ends alone: the key's present value is not what was found.
    """
    if not is_well_formed(api_key):
        return False
    found = queries.find_api_key(secrets.possible_hashes(api_key))
    if found is None:
        return False
    place = "".join(character for character in found_at if character.isprintable())[:_FOUND_AT_CHARS_MAX]
    with transaction.atomic():
        _end(found, place, actor)
    return True


def _end(found: FoundApiKey, place: str, actor: Actor) -> None:
    row, former = found.row, found.former
    # Reports come in again and again, from each scanner; people are told once.
    if former is None:
        if row.revoked_at is not None:
            return
        revoke_api_key(row.team, row.pk, because="leaked")
    else:
        now = timezone.now()
        if not FormerApiKey.objects.filter(pk=former.pk, ends_at__gt=now).update(ends_at=now):
            return
    display = former.display if former is not None else row.display
    audit.record(
        action="api_key.leaked",
        actor=actor,
        team_id=row.team_id,
        target_kind="api_key",
        target_id=row.pk,
        target_name=row.name,
        after={"display": display, "found_at": place},
    )
    key_notices.tell_leaked(row, found_at=place, display=display, still_works=former is not None)
