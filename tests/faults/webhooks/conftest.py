import pytest

from tests.support.webhook_receiver import WebhookReceiver


@pytest.fixture
def team(project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def receiver():
    with WebhookReceiver() as receiver:
        yield receiver
