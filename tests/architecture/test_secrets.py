"""L7: no credential stands in a tracked file, nor in the history; our own key format included."""

import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from agentcache.kit.api_keys import API_KEY_PATTERN, is_well_formed, new_api_key
from tests.architecture.repository import ROOT, text_of, tracked_files
from tests.support.reliability import record

#: Shapes of credentials as their issuers publish them. Ours is found by shape and judged by its checksum.
SHAPES = {
    "openai": r"\bsk-(?:proj-|svcacct-|admin-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}",
    "openai, old": r"\bsk-[A-Za-z0-9]{48}\b",
    "anthropic": r"\bsk-ant-(?:api|admin)\d{2}-[A-Za-z0-9_-]{80,}",
    "replicate": r"\br8_[A-Za-z0-9]{37}\b",
    "together": r"\btgp_v1_[A-Za-z0-9_-]{40,}",
    "groq": r"\bgsk_[A-Za-z0-9]{50,}",
    "hugging face": r"\bhf_[A-Za-z0-9]{34,}\b",
    "google": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "aws": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github": r"\bgh[pousr]_[A-Za-z0-9]{36,}\b|\bgithub_pat_[A-Za-z0-9_]{60,}",
    "slack": r"\bxox[abprs]-[A-Za-z0-9-]{20,}",
    "stripe": r"\b(?:sk|rk)_live_[A-Za-z0-9]{20,}|\bwhsec_[A-Za-z0-9]{32,}\b",
    "npm": r"\bnpm_[A-Za-z0-9]{36}\b",
    "package index": r"\bpypi-AgE[A-Za-z0-9_-]{50,}",
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*\n\s*[A-Za-z0-9+/=]{40,}",
    "jwt": r"\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}",
    "password in a url": r"\b(?:postgres(?:ql)?|rediss?|https?)://[a-z0-9_-]+:(?!\$|%|<|\{|secret|password|pw|hunter2)[^@\s/'\"{}]{12,}@(?!127|localhost|\[::1)",
}
#: A key of ours with fewer different characters than this was typed by somebody as an example, not drawn at random.
EXAMPLE_CHARS = 8
SCANNER = re.compile("|".join(f"(?:{shape})" for shape in SHAPES.values()))


def find_credentials(text):
    ours = [
        key for key in re.findall(API_KEY_PATTERN, text) if is_well_formed(key) and len(set(key[8:40])) >= EXAMPLE_CHARS
    ]
    return [*ours, *(match.group() for match in SCANNER.finditer(text))]


def test_no_tracked_file_holds_a_credential():
    files = list(tracked_files())
    found = {str(path.relative_to(ROOT)): hits for path in files if (hits := find_credentials(text_of(path)))}
    assert not found
    record("L7 tracked files", violations=len(found), files=len(files))


def test_no_commit_holds_a_credential():
    log = subprocess.run(
        ["git", "log", "--all", "-p", "--unified=0", "--no-color", "--format="], cwd=ROOT, capture_output=True
    )
    if log.returncode:  # an unpacked source archive has no history
        log = subprocess.CompletedProcess([], 0, b"")
    assert not find_credentials(log.stdout.decode(errors="replace"))


def members(archive):
    """Return name and bytes of every file in a wheel or source archive."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((name, wheel.read(name)) for name in wheel.namelist())
    else:
        with tarfile.open(archive) as source:
            yield from ((entry.name, source.extractfile(entry).read()) for entry in source if entry.isfile())


#: What a build reads.
BUILT_FROM = {
    "src",
    "scripts",
    "docs",
    "examples",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "SECURITY.md",
}


def test_what_is_released_holds_no_credential_and_every_source_file(tmp_path):
    for path in tracked_files():
        if path.relative_to(ROOT).parts[0] in BUILT_FROM:
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    program = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"
    built = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    for archive in (tmp_path / "dist").iterdir():
        found = dict(members(archive))
        assert not {
            name: hits for name, body in found.items() if (hits := find_credentials(body.decode(errors="replace")))
        }
        released = {name.partition("/src/")[2] or name for name in found}
        expected = {
            str(path.relative_to(ROOT / "src")) for path in tracked_files() if "src" in path.relative_to(ROOT).parts[:1]
        }
        assert expected <= released


@pytest.mark.parametrize(
    "credential",
    [
        new_api_key(),
        new_api_key(test=True),
        "sk-" + "proj-" + "a1B2" * 10 + "T3Blbk" + "FJ" + "c3D4" * 10,
        "sk-" + "ant-api03-" + "aB3_" * 24,
        "r8_" + "aB3" * 12 + "a",
        "AKIA" + "ABCD1234EFGH5678",
        "ghp_" + "aB3d" * 9,
        "postgresql://" + "app:Xk29dmQpLw83ns@db.example.com/app",
        "-----BEGIN " + "PRIVATE KEY-----\n" + "MIIE" * 16,
    ],
    ids=["live", "test", "openai", "anthropic", "replicate", "aws", "github", "database URL", "private key"],
)
def test_the_scanner_finds_what_it_is_for(credential):
    assert find_credentials(f'token = "{credential}"\n')


def test_the_scanner_leaves_placeholders_alone():
    assert not find_credentials(
        "ac_live_" + "x" * 38 + " sk-... sk-ant-api03-... $OPENAI_API_KEY postgresql://u:secret@db/x"
    )
