"""Puts the manual into what is built: the pages at /docs, /changelog and /security come from the files of the repository."""

from __future__ import annotations

from pathlib import Path

from setuptools.command.build_py import build_py  # type: ignore[import-untyped]  # setuptools ships no types

#: Where they are in the package, at the paths that they have here, so that links between them stay as they are.
_TARGET = "agentcache/site/manual"
_MANUAL = ("CHANGELOG.md", "SECURITY.md", "docs/**/*.md", "examples/*.md", "examples/*.py")


def manual_files() -> list[str]:
    """Return the files of the manual, relative to the project."""
    return sorted(path.as_posix() for pattern in _MANUAL for path in Path().glob(pattern))


class BuildWithManual(build_py):  # type: ignore[misc]  # see above
    """The usual build, and the manual beside the modules."""

    def run(self) -> None:
        """Build; what is installed to be worked on reads the files where they are."""
        super().run()
        if self.editable_mode:
            return
        for name in manual_files():
            target = Path(self.build_lib, _TARGET, name)
            self.mkpath(str(target.parent))
            self.copy_file(name, str(target))

    def get_source_files(self) -> list[str]:
        """Return what a source archive needs to build the same."""
        return [*super().get_source_files(), *manual_files(), "scripts/packaging.py"]
