import pytest


@pytest.fixture
def team(sqlite_project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def endpoint(team):
    from tests.support.webhooks import make_endpoint

    return make_endpoint(team)
