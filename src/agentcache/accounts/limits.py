"""How often something may be tried at each door of the account system, counted for all workers together.

Kept in the database by one atomic statement per limit, rather than in a cache: caches of Django read, add and write
back, so that parallel tries would be lost, and without Redis there is no cache that processes share. A window slides:
the previous one counts by the share of it that is still within reach. Refused tries count, too, so the wait grows for
whoever goes on; the longer windows make it grow for whoever is patient.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from django.db import connection
from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from agentcache.accounts.errors import TooManyAttempts
from agentcache.accounts.models import AttemptCount
from agentcache.kit.networks import one_caller

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class Door(StrEnum):
    """What is tried."""

    LOGIN = "login"
    SECOND_FACTOR = "second-factor"
    REGISTER = "register"
    VERIFY_MAIL = "verify-mail"
    RESET_MAIL = "reset-mail"
    CHANGE_EMAIL = "change-email"
    #: Ways to GitHub and Google. Nothing can be guessed there; each costs a session and a call to the provider.
    PROVIDER = "provider"
    #: Mails that ask people to join a team; the account is the team.
    INVITE = "invite"
    #: Redeeming links; a token cannot be guessed, so this guards the hashing slots.
    LINK = "link"
    #: Reports of API keys that were found in the open.
    KEY_LEAK = "key-leak"


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries within so many seconds."""

    tries: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a door, by what is counted."""

    account: tuple[Limit, ...] = ()
    network: tuple[Limit, ...] = ()
    everybody: tuple[Limit, ...] = ()
    #: Failures in a row after which only a password reset helps, or another factor.
    failures_in_a_row: int | None = None


LIMITS = {
    Door.LOGIN: Limits(
        account=(Limit(10, 5 * _MINUTE), Limit(30, _HOUR), Limit(60, _DAY)),
        network=(Limit(10, 5 * _MINUTE),),
        everybody=(Limit(1000, 5 * _MINUTE),),
        failures_in_a_row=100,
    ),
    Door.SECOND_FACTOR: Limits(
        account=(Limit(5, 5 * _MINUTE), Limit(20, _HOUR), Limit(50, _DAY)),
        network=(Limit(10, 5 * _MINUTE), Limit(50, _HOUR)),
        failures_in_a_row=100,
    ),
    Door.REGISTER: Limits(account=(Limit(5, _HOUR),), network=(Limit(20, _HOUR),)),
    Door.VERIFY_MAIL: Limits(account=(Limit(3, 6 * _HOUR),), network=(Limit(20, _HOUR),)),
    Door.RESET_MAIL: Limits(account=(Limit(5, _DAY),), network=(Limit(20, _HOUR),)),
    Door.CHANGE_EMAIL: Limits(account=(Limit(5, 5 * _MINUTE), Limit(20, _HOUR)), network=(Limit(20, _HOUR),)),
    Door.PROVIDER: Limits(network=(Limit(30, 5 * _MINUTE),)),
    Door.INVITE: Limits(account=(Limit(50, _DAY),), network=(Limit(20, _HOUR),)),
    Door.KEY_LEAK: Limits(network=(Limit(30, _MINUTE), Limit(300, _HOUR))),
    Door.LINK: Limits(network=(Limit(30, 5 * _MINUTE),)),
}

# `excluded` is the row that would have been inserted: the current window.
_COUNT = """
INSERT INTO accounts_attemptcount AS kept ("key", "window", "count", "previous", "ends_at") VALUES (%s, %s, 1, 0, %s)
ON CONFLICT ("key") DO UPDATE SET
  "previous" = CASE WHEN kept."window" = excluded."window" THEN kept."previous"
                    WHEN kept."window" = excluded."window" - 1 THEN kept."count" ELSE 0 END,
  "count" = CASE WHEN kept."window" = excluded."window" THEN kept."count" + 1 ELSE 1 END,
  "window" = excluded."window",
  "ends_at" = excluded."ends_at"
RETURNING "count", "previous"
"""


def take(door: Door, *, account: str = "", address: str = "", device: str = "") -> None:
    """Count one try; raises `TooManyAttempts` when a limit is passed.

    A known `device` of the account has counts of its own, so that nobody can lock its owner out from elsewhere.
    """
    wait = max((_count(key, limit) for key, limit in _counted(door, account, address, device)), default=0)
    if wait:
        raise TooManyAttempts(wait)
    in_a_row = LIMITS[door].failures_in_a_row
    if in_a_row is not None and account:
        failures = _add_failure(_key(door, "row", device or account))
        if failures > in_a_row:
            raise TooManyAttempts(_DAY)


def forgive(door: Door, *, account: str = "", address: str = "", device: str = "") -> None:
    """Take back a try that succeeded, and end the row of failures."""
    keys = [key for key, _ in _counted(door, account, address, device)]
    AttemptCount.objects.filter(key__in=keys, count__gt=0).update(count=F("count") - 1)
    AttemptCount.objects.filter(key=_key(door, "row", device or account)).delete()


def forget(door: Door, account: str) -> None:
    """Begin anew with an account, after its password was reset through its mailbox."""
    keys = [_key(door, f"account/{limit.seconds}", account) for limit in LIMITS[door].account]
    AttemptCount.objects.filter(key__in=[*keys, _key(door, "row", account)]).delete()


def prune() -> int:
    """Delete counts that cannot matter any more; return how many."""
    return AttemptCount.objects.filter(ends_at__lt=timezone.now()).delete()[0]


def _counted(door: Door, account: str, address: str, device: str) -> Iterator[tuple[str, Limit]]:
    limits = LIMITS[door]
    if device:
        for limit in limits.account:
            yield _key(door, f"device/{limit.seconds}", device), limit
        return
    if account:
        for limit in limits.account:
            yield _key(door, f"account/{limit.seconds}", account), limit
    network = one_caller(address)
    if network:
        for limit in limits.network:
            yield _key(door, f"network/{limit.seconds}", network), limit
    for limit in limits.everybody:
        yield _key(door, f"everybody/{limit.seconds}", ""), limit


def _count(key: str, limit: Limit) -> int:
    """Count a try and return the seconds to wait, 0 when it may go on."""
    now = time.time()
    window, into = divmod(now, limit.seconds)
    ends_at = datetime.fromtimestamp((window + 2) * limit.seconds, UTC)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [key, int(window), connection.ops.adapt_datetimefield_value(ends_at)])
        count, previous = cursor.fetchone()
    reach = 1 - into / limit.seconds
    if count + previous * reach <= limit.tries:
        return 0
    return max(1, math.ceil(limit.seconds - into))


def _add_failure(key: str) -> int:
    ends_at = datetime.fromtimestamp(time.time() + 30 * _DAY, UTC)
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, [key, 0, connection.ops.adapt_datetimefield_value(ends_at)])
        return int(cursor.fetchone()[0])


def _key(door: Door, counted: str, subject: str) -> str:
    # Hashed with a key: the table tells nobody who tried to sign in.
    return f"{door}/{counted}/{salted_hmac('agentcache.attempts', subject, algorithm='sha256').hexdigest()[:40]}"
