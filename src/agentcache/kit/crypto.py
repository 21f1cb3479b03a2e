"""Keys and envelope encryption: one data key per owner, wrapped by a key that is derived from the server's secret.

A sealed value is bound to its place by associated data, so that a row pasted into another tenant's row does not open.

    sealed value     version (1) | nonce (12) | AES-256-GCM ciphertext and tag
    wrapped data key version (1) | id of the wrapping key (4) | nonce (12) | AES-256-GCM ciphertext and tag
"""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from agentcache.kit.errors import AgentCacheError

KEY_BYTES: Final = 32
SECRET_BYTES_MIN: Final = 32
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_KEY_ID_BYTES: Final = 4
_SALT: Final = b"agentcache/1"


class DecryptionFailed(AgentCacheError):
    """A stored secret cannot be decrypted: it was changed, moved, or sealed with a key that is gone."""

    code = "decryption_failed"


class SecretFileError(AgentCacheError):
    """The file of the secret key cannot be used."""

    code = "secret_file_unusable"


def derive(secret: bytes, purpose: str) -> bytes:
    """Return 32 bytes for one purpose; whoever learns them learns neither the secret nor those of another purpose."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=_SALT, info=purpose.encode()).derive(secret)


def associated_data(*parts: str | bytes) -> bytes:
    """Join what a sealed value belongs to (table, column, row, tenant) so that no two lists of parts look alike."""
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)


def new_data_key() -> bytes:
    """Return a fresh 32-byte data key. Make another before 2**28 uses."""
    return secrets.token_bytes(KEY_BYTES)


def seal(data_key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Encrypt a value and bind it to `aad`."""
    nonce = os.urandom(_NONCE_BYTES)
    return _VERSION + nonce + AESGCM(data_key).encrypt(nonce, plaintext, _VERSION + aad)


def open_sealed(data_key: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext of a sealed value; `DecryptionFailed` when key, bytes or `aad` are not those of `seal`."""
    if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
        raise DecryptionFailed
    return _decrypt(data_key, sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], _VERSION + aad)


class KeyRing:
    """The keys that wrap data keys, one per secret, newest first: the newest encrypts, all decrypt."""

    def __init__(self, server_secrets: Sequence[bytes]) -> None:
        if not server_secrets:
            raise ValueError("a key ring needs at least one secret")
        if any(len(secret) < SECRET_BYTES_MIN for secret in server_secrets):
            raise ValueError(f"a secret needs at least {SECRET_BYTES_MIN} bytes")
        self._keys = {_key_id(secret): derive(secret, "wrap data keys") for secret in reversed(server_secrets)}
        self._newest = _key_id(server_secrets[0])

    @property
    def newest_key_id(self) -> str:
        """The id of the key that encrypts now, as hex."""
        return self._newest.hex()

    def wrap_data_key(self, data_key: bytes, aad: bytes) -> bytes:
        """Encrypt a data key with the newest key and bind it to `aad`."""
        nonce = os.urandom(_NONCE_BYTES)
        head = _VERSION + self._newest
        return head + nonce + AESGCM(self._keys[self._newest]).encrypt(nonce, data_key, head + aad)

    def unwrap_data_key(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return the data key; `DecryptionFailed` when its wrapping key is gone or anything was changed."""
        head, rest = wrapped[: 1 + _KEY_ID_BYTES], wrapped[1 + _KEY_ID_BYTES :]
        key = self._keys.get(head[1:])
        if head[:1] != _VERSION or len(rest) < _NONCE_BYTES + _TAG_BYTES:
            raise DecryptionFailed
        if key is None:
            raise DecryptionFailed(
                f"This data key is wrapped by the key {key_id_of(wrapped)}, which is not in the key ring. "
                "Add the former secret to AGENTCACHE_SECRET_KEY_FALLBACKS."
            )
        return _decrypt(key, rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + aad)

    def rewrap_data_key(self, wrapped: bytes, aad: bytes) -> bytes:
        """Return the same data key wrapped by the newest key; unchanged bytes when it is already."""
        if key_id_of(wrapped) == self.newest_key_id:
            return wrapped
        return self.wrap_data_key(self.unwrap_data_key(wrapped, aad), aad)


def key_id_of(wrapped: bytes) -> str:
    """Return the hex id of the key that wrapped a data key, for counting what still needs an old key."""
    return wrapped[1 : 1 + _KEY_ID_BYTES].hex()


def load_or_create_secret(path: Path) -> bytes:
    """Return the secret kept in a file, making file and secret (0600) when there is none yet.

    Processes that start together agree on one secret. `SecretFileError` says how to mend what is wrong.
    """
    try:
        if not path.exists():
            _create_secret(path)
        return _read_secret(path)
    except OSError as wrong:
        raise SecretFileError(
            f"{path}: {wrong.strerror or wrong}. Make the directory writable for this user, or set AGENTCACHE_SECRET_KEY."
        ) from wrong


def _create_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        # The directory itself is the lock: nothing is left behind, and the loser finds the winner's file.
        fcntl.flock(directory, fcntl.LOCK_EX)
        if path.exists():
            return
        with NamedTemporaryFile("w", dir=path.parent, prefix=".secret-", delete=False) as draft:  # created with 0600
            draft.write(secrets.token_hex(KEY_BYTES) + "\n")
            draft.flush()
            os.fsync(draft.fileno())
        Path(draft.name).replace(path)
        os.fsync(directory)
    finally:
        os.close(directory)


def _read_secret(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        secret = file.read(4096).strip()
    if mode & 0o077:
        raise SecretFileError(f"{path}: other users may read the secret key (mode {mode:04o}). Run: chmod 600 {path}")
    if len(secret) < SECRET_BYTES_MIN:
        raise SecretFileError(
            f"{path}: the secret key is shorter than {SECRET_BYTES_MIN} bytes. Restore it from your backup; only when "
            "there is nothing encrypted to lose, delete the file and a new one is made."
        )
    return secret


def _key_id(secret: bytes) -> bytes:
    return derive(secret, "id of the wrapping key")[:_KEY_ID_BYTES]


def _decrypt(key: bytes, nonce: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise DecryptionFailed from None
