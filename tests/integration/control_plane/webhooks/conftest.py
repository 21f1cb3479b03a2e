import pytest
from django.db import transaction


@pytest.fixture
def team(sqlite_project):
    from tests.support.teams import make_team

    return make_team()


@pytest.fixture
def people(team):
    """Role -> member."""
    from tests.support.teams import join

    return {role: join(team, f"{role}@example.com", role) for role in ("admin", "member", "viewer")}


@pytest.fixture
def endpoint(team):
    from tests.support.webhooks import make_endpoint

    return make_endpoint(team)


@pytest.fixture
def delivery(team, endpoint):
    """A delivery that failed once and waits."""
    from agentcache.webhooks import services
    from agentcache.webhooks.models import Delivery
    from agentcache.webhooks.services import TryOutcome
    from tests.support.webhooks import sample

    with transaction.atomic():
        services.emit(team.pk, "cache.invalidated", sample("cache.invalidated"))
    row = Delivery.objects.get()
    answer = b"<script>alert(1)</script> not now"
    services.record_try(row.pk, 0, TryOutcome(12, 500, response=answer), services.emitting.timezone.now())
    return row


@pytest.fixture
def task(team):
    from agentcache.audit.services import Actor
    from agentcache.tasks import services

    return services.start(team, "webhooks.redeliver", "Send webhooks again", {}, total=40, actor=Actor.system())
