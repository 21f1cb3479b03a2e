"""What the project's tree may hold."""

import re

from tests.architecture.repository import ROOT, text_of, tracked_files

ROOT_ENTRIES_MAX = 20
BANNED_NAMES = re.compile(r"(?:^|_)(?:utils?|helpers?|common|misc|managers?|handlers?|core|tmp|v2)(?:_|$)")
#: Written in two halves, or this file would be a finding itself.
REGISTRY_HOSTS = re.compile(
    "|".join(
        ["pypi" + r"\.org", "files\\.python" + "hosted", "registry\\.npm" + "js", "npm" + "mirror", "verda" + "ccio"]
    )
)
MACHINE_PATHS = re.compile(r"(?<![\w.$}/~-])/(?:root|home/[a-z]+|Users/[A-Za-z]+|work)/")


def test_the_root_holds_at_most_20_entries():
    assert len({path.relative_to(ROOT).parts[0] for path in tracked_files()}) <= ROOT_ENTRIES_MAX


def test_no_file_is_named_after_nothing():
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if any(BANNED_NAMES.search(part.split(".")[0]) for part in path.relative_to(ROOT).parts)
    ]
    assert not found


def test_no_file_names_a_package_registry():
    found = [str(path.relative_to(ROOT)) for path in tracked_files() if REGISTRY_HOSTS.search(text_of(path))]
    assert not found


def test_no_file_names_a_path_of_somebodys_machine():
    found = {
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked_files()
        if (match := MACHINE_PATHS.search(text_of(path)))
    }
    assert not found


def test_no_status_files_and_no_logs():
    found = [
        str(path.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix in {".log", ".bak", ".orig", ".rej"}
        or re.search(r"(COMPLETE|STATUS|READY|SUMMARY)\.md$", path.name)
    ]
    assert not found
