import pytest


@pytest.fixture
def team(project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def owner(team):
    from tests.support.teams import join

    return join(team, "owner@example.com", "owner")


@pytest.fixture
def admin(team):
    from tests.support.teams import join

    return join(team, "admin@example.com", "admin")


@pytest.fixture
def member(team):
    from tests.support.teams import join

    return join(team, "member@example.com", "member")
