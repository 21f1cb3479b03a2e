"""Sites that start on records which are migrated already, on each of the databases."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.postgres_server import create_database


def prepare(request: pytest.FixtureRequest, engine: str, folder: Path) -> dict[str, str]:
    """Put empty migrated records into a data directory, or make a database of them; return the settings that name it."""
    folder.mkdir(parents=True, exist_ok=True)
    migrated_file: Path = request.getfixturevalue("migrated_sqlite")
    # A server does not take records for its own without a secret beside them.
    shutil.copy2(migrated_file.parent / "secret.key", folder / "secret.key")
    if engine == "postgresql":
        migrated = request.getfixturevalue("migrated_postgresql")
        return {"AGENTCACHE_DATABASE_URL": create_database(request.getfixturevalue("postgres_url"), migrated)}
    shutil.copyfile(migrated_file, folder / "app.db")
    return {}
