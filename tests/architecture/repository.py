"""What the architecture tests look at: the files that git tracks."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "agentcache"


@cache
def tracked_files() -> tuple[Path, ...]:
    """Return every tracked file; in an unpacked source archive, every file that git would not ignore by habit."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode == 0 and listing.stdout:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
        return tuple(path for path in found if path.is_file())
    ignored = {".git", ".venv", "node_modules", "__pycache__", "build", "dist", "data"}
    return tuple(p for p in ROOT.rglob("*") if p.is_file() and not ignored & set(p.relative_to(ROOT).parts))


@cache
def text_of(path: Path) -> str:
    """Return a file as text, or an empty string when it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def python_files(*folders: str) -> tuple[Path, ...]:
    """Return the tracked Python files below these folders of the project."""
    return tuple(
        path
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders and "migrations" not in path.parts
    )
