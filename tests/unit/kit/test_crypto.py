"""Envelope encryption and the secret file."""

import multiprocessing
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentcache.kit.crypto import (
    DecryptionFailed,
    KeyRing,
    SecretFileError,
    associated_data,
    derive,
    key_id_of,
    load_or_create_secret,
    new_data_key,
    open_sealed,
    seal,
)

OLD, NEW = b"o" * 32, b"n" * 32
KEY = b"k" * 32


@given(st.binary(max_size=3000), st.binary(max_size=40))
def test_what_is_sealed_opens_only_whole_and_in_its_place(plaintext, aad):
    sealed = seal(KEY, plaintext, aad)
    assert open_sealed(KEY, sealed, aad) == plaintext
    with pytest.raises(DecryptionFailed):
        open_sealed(KEY, sealed, aad + b"x")
    with pytest.raises(DecryptionFailed):
        open_sealed(b"l" * 32, sealed, aad)


def test_every_changed_byte_and_every_cut_is_noticed():
    sealed = seal(KEY, b"secret", b"row 1")
    assert b"secret" not in sealed
    for position in range(len(sealed)):
        with pytest.raises(DecryptionFailed):
            open_sealed(KEY, sealed[:position] + bytes([sealed[position] ^ 1]) + sealed[position + 1 :], b"row 1")
        with pytest.raises(DecryptionFailed):
            open_sealed(KEY, sealed[:position], b"row 1")


def test_the_same_value_is_never_sealed_alike():
    assert len({seal(KEY, b"x", b"") for _ in range(1000)}) == 1000


def test_a_wrapped_data_key_opens_with_any_key_of_the_ring():
    data_key = new_data_key()
    wrapped = KeyRing([OLD]).wrap_data_key(data_key, b"tenant 1")
    assert data_key not in wrapped
    assert KeyRing([NEW, OLD]).unwrap_data_key(wrapped, b"tenant 1") == data_key
    with pytest.raises(DecryptionFailed, match="AGENTCACHE_SECRET_KEY_FALLBACKS"):
        KeyRing([NEW]).unwrap_data_key(wrapped, b"tenant 1")
    with pytest.raises(DecryptionFailed):
        KeyRing([OLD]).unwrap_data_key(wrapped, b"tenant 2")


def test_every_changed_byte_of_a_wrapped_key_is_noticed():
    ring = KeyRing([NEW, OLD])
    wrapped = ring.wrap_data_key(new_data_key(), b"t")
    for position in range(len(wrapped)):
        with pytest.raises(DecryptionFailed):
            ring.unwrap_data_key(wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :], b"t")
        with pytest.raises(DecryptionFailed):
            ring.unwrap_data_key(wrapped[:position], b"t")


def test_rewrapping_moves_to_the_newest_key_and_keeps_the_data_key():
    data_key = new_data_key()
    wrapped = KeyRing([OLD]).wrap_data_key(data_key, b"t")
    ring = KeyRing([NEW, OLD])
    moved = ring.rewrap_data_key(wrapped, b"t")
    assert key_id_of(moved) == ring.newest_key_id != key_id_of(wrapped)
    assert KeyRing([NEW]).unwrap_data_key(moved, b"t") == data_key
    assert ring.rewrap_data_key(moved, b"t") == moved


@pytest.mark.parametrize("secrets", [[], [b"short"], [NEW, b"short"]])
def test_a_ring_needs_proper_secrets(secrets):
    with pytest.raises(ValueError, match="secret"):
        KeyRing(secrets)


def test_purposes_get_different_keys_that_do_not_drift():
    assert derive(OLD, "a") == derive(OLD, "a")
    assert len({derive(OLD, "a"), derive(OLD, "b"), derive(NEW, "a"), OLD}) == 4
    assert (
        derive(b"s" * 32, "api key pepper").hex() == "5e9e86bb8d3eba502d9cf9d4a95ac43602a3417f2055be80f3bf8115197f5432"
    )


def test_associated_data_cannot_be_confused():
    assert associated_data("ab", "c") != associated_data("a", "bc") != associated_data("a", "b", "c")
    assert associated_data("a") == associated_data(b"a")


def test_the_secret_file_is_made_once_and_private(tmp_path):
    path = tmp_path / "new" / "secret.key"
    secret = load_or_create_secret(path)
    assert len(secret) == 64
    assert load_or_create_secret(path) == secret
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]


def test_processes_that_start_together_agree_on_one_secret(tmp_path):
    path = tmp_path / "secret.key"
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(load_or_create_secret, [path] * 16, chunksize=1)
    assert len(set(found)) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    path = tmp_path / "secret.key"
    load_or_create_secret(path)
    path.chmod(mode)
    with pytest.raises(SecretFileError, match="chmod 600"):
        load_or_create_secret(path)


@pytest.mark.parametrize("content", [b"", b"short\n"])
def test_a_short_secret_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "secret.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(SecretFileError, match="shorter than 32 bytes"):
        load_or_create_secret(path)
    assert path.read_bytes() == content


def test_a_path_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SecretFileError, match="AGENTCACHE_SECRET_KEY"):
        load_or_create_secret(tmp_path / "file" / "secret.key")
