"""The secrets of the server and of its teams, all derived from AGENTCACHE_SECRET_KEY and its fallbacks."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.conf import settings as django_conf

from agentcache.engine.entries import Tenant
from agentcache.kit.api_keys import hash_api_key
from agentcache.kit.crypto import (
    KeyRing,
    associated_data,
    derive,
    load_or_create_secret,
    new_data_key,
    open_sealed,
    seal,
)
from agentcache.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerSecrets:
    """What one server needs to recognise API keys and to open its teams' data keys."""

    key_ring: KeyRing = field(repr=False)
    #: Newest first; an API key stored under an older one is still found.
    peppers: tuple[bytes, ...] = field(repr=False)
    #: Signs sessions and other things that Django signs, newest first.
    signing_keys: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> ServerSecrets:
        """Derive them; makes the secret key file on the first start."""
        given = settings.secret_key
        newest = given.encode() if given is not None else load_or_create_secret(settings.secret_key_file)
        secrets = (newest, *(former.encode() for former in settings.secret_key_fallbacks))
        return cls(
            key_ring=KeyRing(secrets),
            peppers=tuple(derive(secret, "api key pepper") for secret in secrets),
            signing_keys=tuple(derive(secret, "django signing").hex() for secret in secrets),
        )

    def hash_new_api_key(self, api_key: str) -> bytes:
        """Return the 32 bytes under which a new API key is stored."""
        return hash_api_key(api_key, self.peppers[0])

    def possible_hashes(self, api_key: str) -> tuple[bytes, ...]:
        """Return every hash under which an API key may be stored."""
        return tuple(hash_api_key(api_key, pepper) for pepper in self.peppers)

    def wrapped_new_data_key(self, team_id: str) -> bytes:
        """Return a fresh data key, encrypted and bound to the team."""
        return self.key_ring.wrap_data_key(new_data_key(), _place(team_id))

    def tenant(self, team_id: str, wrapped_data_key: bytes, *, encrypt_entries: bool) -> Tenant:
        """Return the data plane's view of a team. Raises `DecryptionFailed` when the secret key is not the one it was."""
        data_key = self.key_ring.unwrap_data_key(wrapped_data_key, _place(team_id))
        entry_key = derive(data_key, "entries") if encrypt_entries else None
        return Tenant(id=team_id, key_secret=derive(data_key, "cache keys"), data_key=entry_key)

    def webhook_signing_key(self, team_id: str, wrapped_data_key: bytes, number: int = 0) -> bytes:
        """Return the 32 bytes that sign the webhooks sent for a team; `number` is how often they were replaced."""
        purpose = f"webhooks {number}" if number else "webhooks"
        return derive(self.key_ring.unwrap_data_key(wrapped_data_key, _place(team_id)), purpose)

    def webhook_key_seed(self, team_id: str, wrapped_data_key: bytes, place: bytes) -> bytes:
        """Return the 32 bytes of which the Ed25519 key at `place` (table, row) is made; no secret that receivers know leads there."""
        data_key = self.key_ring.unwrap_data_key(wrapped_data_key, _place(team_id))
        return derive(data_key, f"webhook signing key {place.decode()}")

    def seal_for_team(self, team_id: str, wrapped_data_key: bytes, place: bytes, plaintext: bytes) -> bytes:
        """Encrypt a secret that a team keeps with us, bound to its `place` (table, column, row)."""
        key = derive(self.key_ring.unwrap_data_key(wrapped_data_key, _place(team_id)), "secrets of the team")
        return seal(key, plaintext, associated_data(team_id, place))

    def open_for_team(self, team_id: str, wrapped_data_key: bytes, place: bytes, sealed: bytes) -> bytes:
        """Return the plaintext of a secret of a team. Raises `DecryptionFailed`."""
        key = derive(self.key_ring.unwrap_data_key(wrapped_data_key, _place(team_id)), "secrets of the team")
        return open_sealed(key, sealed, associated_data(team_id, place))


def current_secrets() -> ServerSecrets:
    """Return the secrets of the settings that Django was set up for; derived once."""
    return _Derived.secrets_of(current_settings())


def current_settings() -> Settings:
    """Return the settings that Django was set up for."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings


class _Derived:
    """The last derived secrets: they take reading a file, and a server restarts when its settings change."""

    _last: tuple[Settings, ServerSecrets] | None = None

    @classmethod
    def secrets_of(cls, settings: Settings) -> ServerSecrets:
        last = cls._last
        if last is None or last[0] is not settings:
            last = cls._last = settings, ServerSecrets.of(settings)
        return last[1]


def _place(team_id: str) -> bytes:
    return associated_data("team", "data key", team_id)
