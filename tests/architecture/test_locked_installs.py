"""L1: what is installed is what the hashes say, or nothing is."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.architecture.repository import ROOT, text_of
from tests.support.reliability import record

CONSTRAINTS = sorted((ROOT / "constraints").glob("*.txt"))


def blocks(path):
    """Return the requirements of a constraint file, continued lines joined, comments dropped."""
    joined = re.sub(
        r"\\\n", " ", "\n".join(line for line in text_of(path).splitlines() if not line.lstrip().startswith("#"))
    )
    return [line.strip() for line in joined.splitlines() if line.strip()]


@pytest.mark.parametrize("path", CONSTRAINTS, ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_hashed(path):
    requirements = blocks(path)
    assert len(requirements) > {"frontend": 1, "query-engine": 1, "rivals": 5}.get(path.stem, 30)
    for requirement in requirements:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+ ", requirement), requirement
        assert "--hash=sha256:" in requirement, requirement
        assert "--index" not in requirement and "://" not in requirement, requirement
    record(f"L1 {path.stem}", requirements=len(requirements), unhashed=0)


def test_a_package_has_one_version_in_all_files():
    dev = {requirement.split()[0] for requirement in blocks(ROOT / "constraints/dev.txt")}
    for name in ("serve", "test"):
        assert {requirement.split()[0] for requirement in blocks(ROOT / f"constraints/{name}.txt")} <= dev


@pytest.fixture(scope="module")
def bare_environment(tmp_path_factory):
    """An environment with nothing but pip."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    return folder


@pytest.fixture
def project(tmp_path):
    """A copy of the installer in a project whose one requirement is a wheel in a folder."""
    wheel = tmp_path / "wheels" / "harmless-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("harmless.py", "")
        archive.writestr("harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        archive.writestr(
            "harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("harmless-1.0.dist-info/RECORD", "")
    folder = tmp_path / "project"
    (folder / "constraints").mkdir(parents=True)
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts/install.py", folder / "scripts")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (folder / "backend.py").write_text(BACKEND)
    lock(folder, f"harmless==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return folder


#: The least that pip calls a build backend; ours would be setuptools, from the same hashed file.
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "project-1.0-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as archive:
        archive.writestr("project-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: project\\nVersion: 1.0\\n")
        archive.writestr("project-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr("project-1.0.dist-info/RECORD", "")
    return name
build_wheel = build_editable
"""


def lock(folder, text):
    for level in ("serve", "test", "dev"):
        (folder / f"constraints/{level}.txt").write_text(text)


def install(environment, folder):
    environ = {name: text for name, text in os.environ.items() if not name.startswith("PIP_")}
    environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder.parent / "wheels"), "PIP_CONFIG_FILE": os.devnull}
    (environment / "agentcache-installed").unlink(missing_ok=True)
    command = [environment / "bin/python", "scripts/install.py", "serve"]
    finished = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    listing = subprocess.run([environment / "bin/pip", "list"], env=environ, capture_output=True, text=True)
    subprocess.run([environment / "bin/pip", "uninstall", "-q", "-y", "harmless"], env=environ, capture_output=True)
    return finished, "harmless" in listing.stdout


def test_the_hashed_wheel_is_installed(bare_environment, project):
    finished, is_installed = install(bare_environment, project)
    assert finished.returncode == 0, finished.stderr
    assert is_installed
    assert (bare_environment / "agentcache-installed").exists()


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(f"harmless==1.0 --hash=sha256:{'0' * 64}\n", id="hash changed"),
        pytest.param("harmless==1.0\n", id="hash dropped"),
    ],
)
def test_an_edited_lock_is_not_installed(bare_environment, project, edited):
    lock(project, edited)
    finished, is_installed = install(bare_environment, project)
    assert finished.returncode == 1
    assert "error: the installation failed" in finished.stderr
    assert not is_installed
    assert not (bare_environment / "agentcache-installed").exists()


def test_a_requirement_without_a_hash_spoils_the_whole_lock(bare_environment, project):
    lock(project, text_of(project / "constraints/serve.txt") + "harmless-too==1.0\n")
    finished, is_installed = install(bare_environment, project)
    assert finished.returncode == 1
    assert not is_installed


def test_a_wheel_that_was_swapped_behind_an_extra_index_is_not_installed(bare_environment, project):
    wheel = next((project.parent / "wheels").iterdir())
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("harmful.py", "")
    finished, is_installed = install(bare_environment, project)
    assert finished.returncode == 1
    assert not is_installed


def test_the_installer_demands_hashes_and_wheels():
    program = Path(ROOT / "scripts/install.py").read_text()
    assert '"--require-hashes", "--only-binary", ":all:"' in program
    assert '"--no-deps", "--no-build-isolation", "--no-index", "--editable"' in program
