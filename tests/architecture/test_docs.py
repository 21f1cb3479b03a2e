"""The reference pages say what the code does."""

import re
import subprocess
import sys

from agentcache.gateway.vocabulary import FURTHER_REPLY_HEADERS, REPLY_HEADERS, REQUEST_HEADERS
from agentcache.settings import SETTINGS
from tests.architecture.repository import ROOT, text_of, tracked_files

REFERENCE = ROOT / "docs" / "reference"


def test_no_generated_page_lags_behind_the_code():
    command = [sys.executable, "scripts/docs.py", "--check"]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_every_setting_has_a_row():
    page = text_of(REFERENCE / "settings.md")
    assert [name for setting in SETTINGS if f"| `{(name := setting.name)}` |" not in page] == []


def test_every_header_has_a_row():
    page = text_of(REFERENCE / "headers.md")
    assert [
        name
        for field in (*REQUEST_HEADERS, *REPLY_HEADERS, *FURTHER_REPLY_HEADERS)
        if f"| `{(name := field.name)}` |" not in page
    ] == []


def test_no_page_names_a_setting_that_does_not_exist():
    known = {setting.name for setting in SETTINGS} | {"AGENTCACHE_API_KEY", "AGENTCACHE_BASE_URL"}
    unknown = set()
    for path in tracked_files():
        if path.suffix == ".md":
            for name in re.findall(r"\bAGENTCACHE_[A-Z][A-Z_]*[A-Z]\b", text_of(path)):
                if name not in known and not name.startswith(("AGENTCACHE_UPSTREAM", "AGENTCACHE_TEST_")):
                    unknown.add(f"{path.relative_to(ROOT)}: {name}")
    assert not unknown


def test_links_between_pages_lead_somewhere():
    dead = set()
    for path in tracked_files():
        if path.suffix == ".md":
            for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text_of(path)):
                if not (path.parent / target).exists():
                    dead.add(f"{path.relative_to(ROOT)} -> {target}")
    assert not dead
