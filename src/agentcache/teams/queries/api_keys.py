"""Reads of API keys."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from django.db.models import Q, QuerySet
from django.utils import timezone

from agentcache.teams.models import ApiKey, Team
from agentcache.teams.tenancy import rows_of


def list_api_keys(team: Team) -> QuerySet[ApiKey]:
    """Return a team's keys, newest first, revoked and expired ones too."""
    return rows_of(team, ApiKey).order_by("-created_at", "-id")


def find_live_api_key(possible_hashes: Sequence[bytes]) -> ApiKey | None:
    """Return the key stored under one of these hashes, with its team, unless it is revoked or expired.

    Crosses tenants on purpose: this look-up is what tells the tenant.
    """
    is_live = Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now())
    candidates = ApiKey.objects.select_related("team").filter(
        is_live, key_hash__in=list(possible_hashes), revoked_at__isnull=True
    )
    for row in candidates:
        if any(hmac.compare_digest(bytes(row.key_hash), known) for known in possible_hashes):
            return row
    return None
