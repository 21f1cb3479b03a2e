"""Secret-scanning alerts of GitHub: whether GitHub signed them, and what is done about the keys in them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import threading
import time
from dataclasses import dataclass, field

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from agentcache.audit.services import Actor
from agentcache.kit.egress.guarded import EgressFailed, GuardedClient, GuardedLimits
from agentcache.kit.egress.target import InvalidTarget
from agentcache.kit.errors import BadRequest, Unauthenticated, Unavailable
from agentcache.kit.logs import get_logger
from agentcache.settings import Settings
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services.leaked_keys import revoke_leaked_key

#: The list of keys is read again when it is older than this.
KEYS_SECONDS = 3600.0
#: A key that is not on the list has it read again, but not more often than this: anybody may name a key.
AGAIN_SECONDS = 60.0
ALERTS_MAX = 1_000
_LIST_BYTES_MAX = 256 * 1024

_log = get_logger(__name__)


class AlertNotSigned(Unauthenticated):
    """This alert is not signed by a key that GitHub publishes."""

    code = "alert_not_signed"


class AlertMalformed(BadRequest):
    """An alert is a JSON array of up to 1,000 objects with the member `token`."""

    code = "alert_malformed"


class Alert(msgspec.Struct):
    """One credential that GitHub found."""

    token: str
    type: str = ""
    url: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one alert."""

    alert: Alert
    #: Whether it was a key of ours, ended already or not.
    is_ours: bool


class _PublishedKey(msgspec.Struct):
    key_identifier: str
    key: str


class _PublishedKeys(msgspec.Struct):
    public_keys: list[_PublishedKey]


@dataclass(slots=True)
class SigningKeys:
    """The keys that GitHub publishes at a URL, remembered for an hour."""

    url: str
    client: GuardedClient
    _keys: dict[str, str] = field(default_factory=dict)
    _read_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def verify(self, body: bytes, identifier: str, signature: str) -> None:
        """Raise `AlertNotSigned` unless the body is signed by the key of this name; `Unavailable` without a list."""
        pem = self._find(identifier)
        try:
            key = load_pem_public_key(pem.encode())
            if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
                raise AlertNotSigned
            key.verify(base64.b64decode(signature, validate=True), body, ECDSA(SHA256()))
        except (InvalidSignature, ValueError, binascii.Error):
            raise AlertNotSigned from None

    def _find(self, identifier: str) -> str:
        with self._lock:
            age = time.monotonic() - self._read_at
            if age > KEYS_SECONDS or (identifier not in self._keys and age > AGAIN_SECONDS):
                self._read()
            found = self._keys.get(identifier)
        if not found:
            raise AlertNotSigned
        return found

    def _read(self) -> None:
        try:
            # The views run in threads, which have no loop of their own.
            answer = asyncio.run(self.client.request("GET", self.url, [(b"accept", b"application/json")]))
            if answer.status != 200:
                raise EgressFailed(f"answered {answer.status}")
            published = msgspec.json.decode(answer.body, type=_PublishedKeys)
        except (EgressFailed, InvalidTarget, msgspec.DecodeError) as error:
            _log.warning("github_keys_not_read", reason=getattr(error, "reason", type(error).__name__))
            if not self._keys:
                raise Unavailable("GitHub's keys cannot be read at the moment.") from None
            # What was published before still tells who signed.
        else:
            self._keys = {key.key_identifier: key.key for key in published.public_keys}
        self._read_at = time.monotonic()


def signing_keys(settings: Settings) -> SigningKeys | None:
    """Return the keys of the settings' URL, read at most once an hour by this process; None where it is not set."""
    url = settings.github_scanning_keys_url
    if url is None:
        return None
    known = _Known.keys
    if known is None or known.url != url:
        limits = GuardedLimits(connect_seconds=3.0, total_seconds=5.0, body_bytes_max=_LIST_BYTES_MAX)
        known = _Known.keys = SigningKeys(url, GuardedClient(settings.egress_allow, limits))
    return known


class _Known:
    keys: SigningKeys | None = None


def handle_alerts(secrets: ServerSecrets, body: bytes, *, actor: Actor) -> list[Verdict]:
    """End every key of ours in a body that GitHub signed; its member and admins are told where it was."""
    try:
        alerts = msgspec.json.decode(body, type=list[Alert])
    except msgspec.DecodeError:
        raise AlertMalformed from None
    if len(alerts) > ALERTS_MAX:
        raise AlertMalformed
    return [Verdict(alert, revoke_leaked_key(secrets, alert.token.strip(), alert.url, actor=actor)) for alert in alerts]
