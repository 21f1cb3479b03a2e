"""Deleting an account."""

from __future__ import annotations

from allauth.account.adapter import get_adapter
from django.contrib.auth import logout
from django.db import transaction
from django.http import HttpRequest

from agentcache.accounts.access import SIGNED_OUT, require_fresh, user_of
from agentcache.accounts.models import MailedLink
from agentcache.accounts.notices import note, tell


def delete_account(request: HttpRequest) -> None:
    """Delete the user, and the teams that nobody else is in. Raises `TeamsNeedOwner` where others would be left alone."""
    require_fresh(request)
    user = user_of(request)
    with transaction.atomic():
        get_adapter().farewell(user)
        note(request, user, "account.deleted")
        tell(request, user, "account-deleted")
        MailedLink.objects.filter(email=user.email).delete()
        logout(request)
        user.delete()
    request.META[SIGNED_OUT] = True
