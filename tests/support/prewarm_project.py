"""Fixtures: a project whose providers are the fake one, with a team and its people."""

import shutil

import pytest

from agentcache.settings import Settings
from tests.support.django_project import use_settings
from tests.support.gateway import upstream_settings


@pytest.fixture
def provider():
    from agentcache.demo.fake_provider import FakeProvider

    with FakeProvider() as provider:
        yield provider


@pytest.fixture
def settings(tmp_path, migrated_sqlite, provider):
    """Settings of a project whose providers are the fake one."""
    environ = {"AGENTCACHE_DATA_DIR": str(tmp_path / "agentcache"), **upstream_settings(provider)}
    settings = Settings.from_env(environ)
    settings.data_dir.mkdir()
    shutil.copyfile(migrated_sqlite, settings.app_db)
    with use_settings(settings):
        yield settings


@pytest.fixture
def team(settings):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def people(team):
    """Role -> member."""
    from tests.support.teams import join

    return {role: join(team, f"{role}@example.com", role) for role in ("admin", "member", "viewer")}
