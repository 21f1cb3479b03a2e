"""Fixtures: a project whose providers are the fake one, with a team and its people."""

import pytest

from agentcache.settings import Settings
from tests.support.django_project import use_settings
from tests.support.gateway import upstream_settings
from tests.support.migrated_site import prepare
from tests.support.tiers import ENGINES


@pytest.fixture
def provider():
    from agentcache.demo.fake_provider import FakeProvider

    with FakeProvider() as provider:
        yield provider


@pytest.fixture(params=ENGINES)
def settings(request, tmp_path, provider):
    """Settings of a project whose providers are the fake one."""
    folder = tmp_path / "agentcache"
    environ = {
        "AGENTCACHE_DATA_DIR": str(folder),
        **prepare(request, request.param, folder),
        **upstream_settings(provider),
    }
    settings = Settings.from_env(environ)
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
