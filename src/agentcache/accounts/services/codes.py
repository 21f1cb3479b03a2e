"""Codes of the second factor: those that an app makes each half minute, and those on paper. Each is accepted once."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from allauth.mfa.utils import decrypt, encrypt
from django.db import transaction
from django.utils import timezone

from agentcache.accounts.models import User

STEP_SECONDS = 30
RECOVERY_CODES = 10

#: 25 letters of 32 kinds: 125 random bits, which needs no slow hash.
_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
_GROUPS, _GROUP_CHARS = 5, 5


def accept(user: User, code: str) -> bool:
    """Use up a code of either kind; say whether it was one."""
    digits = re.sub(r"\s", "", code)
    if re.fullmatch(r"[0-9]{6}", digits):
        return accept_totp(user, digits)
    return accept_recovery_code(user, code)


def accept_totp(user: User, code: str) -> bool:
    """Use up a code of the app, of this half minute or of the one before or after it."""
    with transaction.atomic():
        row = _locked(user, Authenticator.Type.TOTP)
        if row is None:
            return False
        step = matching_step(decrypt(row.data["secret"]), re.sub(r"\s", "", code), after=row.data.get("last_step", 0))
        if step is None:
            return False
        row.data["last_step"] = step
        row.last_used_at = timezone.now()
        row.save(update_fields=["data", "last_used_at"])
        return True


def matching_step(secret: str, code: str, *, after: int = 0) -> int | None:
    """Return the half minute that a code belongs to, if it is a near one and later than `after`."""
    now = int(time.time()) // STEP_SECONDS
    found = None
    for step in (now - 1, now, now + 1):
        if hmac.compare_digest(format_hotp_value(hotp_value(secret, step)).encode(), code.encode(errors="replace")):
            found = step
    return found if found is not None and found > after else None


def keep_totp(user: User, secret: str, used_step: int) -> None:
    """Keep the seed of a new app."""
    Authenticator.objects.create(
        user=user, type=Authenticator.Type.TOTP, data={"secret": encrypt(secret), "last_step": used_step}
    )


def accept_recovery_code(user: User, code: str) -> bool:
    """Use up a recovery code."""
    given = _hash(code)
    with transaction.atomic():
        row = _locked(user, Authenticator.Type.RECOVERY_CODES)
        if row is None:
            return False
        left = [kept for kept in row.data["hashes"] if not hmac.compare_digest(kept, given)]
        if len(left) == len(row.data["hashes"]):
            return False
        row.data["hashes"] = left
        row.last_used_at = timezone.now()
        row.save(update_fields=["data", "last_used_at"])
        return True


def new_recovery_codes(user: User) -> list[str]:
    """Replace the user's recovery codes and return the new ones, which nobody can see again."""
    made = ["-".join(_group() for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES)]
    with transaction.atomic():
        Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
        Authenticator.objects.create(
            user=user, type=Authenticator.Type.RECOVERY_CODES, data={"hashes": [_hash(code) for code in made]}
        )
    return made


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP_CHARS))


def _hash(code: str) -> str:
    return hashlib.sha256(re.sub(r"[^a-z0-9]", "", code.lower()).encode()).hexdigest()


def _locked(user: User, kind: Authenticator.Type) -> Authenticator | None:
    # The lock makes the second of two parallel tries see what the first has used up.
    return Authenticator.objects.select_for_update().filter(user=user, type=kind).first()
