from dataclasses import replace

import pytest
from django.conf import settings as django_conf

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.kit.egress.allow_list import AllowList
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.errors import InvalidEndpoint, TooManyEndpoints, UnknownEventType
from agentcache.webhooks.models import EndpointSecret
from agentcache.webhooks.services import ENDPOINTS_MAX, EndpointEdits, NewEndpoint
from tests.support.webhooks import make_endpoint


def create(team, url="https://hooks.example.com/in", event_types=("cache.hit",), **members):
    new = NewEndpoint(url, event_types, **members)
    return services.create_endpoint(current_secrets(), team, new, actor=Actor.system())


@pytest.mark.parametrize(
    "url",
    [
        "", "hooks.example.com", "ftp://hooks.example.com/", "http://hooks.example.com/", "https://hooks.example.com:8443/",
        "https://user:secret@hooks.example.com/", "https://127.0.0.1/", "https://[::1]/", "https://169.254.169.254/latest",
        "https://10.1.2.3/", "https://2130706433/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]/", "https://a b/",
        "https://hooks.example.com/" + "x" * 1000,
    ],
)  # fmt: skip
def test_a_url_that_cannot_be_right_is_refused_when_it_is_given(url, team):
    with pytest.raises(InvalidEndpoint) as refused:
        create(team, url)
    assert refused.value.param == "url"


@pytest.mark.parametrize("url", ["https://10.1.2.3/in", "http://10.1.2.3:8080/in", "http://hooks.corp.example/in"])
def test_an_operator_can_permit_an_intranet(url, team, monkeypatch):
    allow = AllowList.parse("10.0.0.0/8, *.corp.example")
    monkeypatch.setattr(django_conf, "AGENTCACHE", replace(django_conf.AGENTCACHE, egress_allow=allow))
    assert create(team, url).row.url == url


@pytest.mark.parametrize(("types", "error"), [([], InvalidEndpoint), (["cache.all"], UnknownEventType)])
def test_event_types_have_to_be_named_and_known(types, error, team):
    with pytest.raises(error) as refused:
        create(team, event_types=types)
    assert refused.value.param == "event_types"


@pytest.mark.parametrize(
    "members",
    [{"description": "x" * 201}, {"hits_per_mille": 1001}, {"hits_per_mille": -1}, {"hits_namespace": "a\nb"}],
)
def test_what_does_not_fit_names_its_member(members, team):
    with pytest.raises(InvalidEndpoint) as refused:
        create(team, **members)
    assert refused.value.param == next(iter(members))


def test_a_team_has_a_bounded_number_of_endpoints(team):
    for _ in range(ENDPOINTS_MAX):
        create(team)
    with pytest.raises(TooManyEndpoints):
        create(team)


def test_the_secret_is_kept_sealed_and_told_nobody_else(team):
    made = create(team)
    [row] = EndpointSecret.objects.all()
    [secret] = services.open_secrets(current_secrets(), team, made.row, row.created_at)
    assert secret not in bytes(row.sealed)
    assert not AuditEvent.objects.filter(after__icontains=made.secret[6:]).exists()


def test_a_sealed_secret_opens_in_no_other_place(team):
    from agentcache.kit.crypto import DecryptionFailed
    from tests.support.teams import make_team

    mine, other = create(team), make_endpoint(make_team("Red Foxes"))
    stolen = EndpointSecret.objects.get(endpoint=mine.row)
    EndpointSecret.objects.filter(endpoint=other).update(sealed=bytes(stolen.sealed))
    with pytest.raises(DecryptionFailed):
        services.open_secrets(current_secrets(), other.team, other, stolen.created_at)


def test_changes_are_on_record_with_what_they_changed(team):
    made = create(team)
    edits = EndpointEdits(description="Slack", event_types=["cache.hit", "cache.invalidated"])
    services.change_endpoint(team, made.row.pk, edits, actor=Actor.system())
    event = AuditEvent.objects.get(action="webhook_endpoint.changed")
    assert event.before == {"description": "", "event_types": ["cache.hit"]}
    assert event.after == {"description": "Slack", "event_types": ["cache.invalidated", "cache.hit"]}
    services.change_endpoint(team, made.row.pk, edits, actor=Actor.system())
    assert AuditEvent.objects.filter(action="webhook_endpoint.changed").count() == 1


def test_a_deleted_endpoint_leaves_nothing_but_its_record(team):
    made = create(team)
    services.delete_endpoint(team, made.row.pk, actor=Actor.system())
    assert not EndpointSecret.objects.exists()
    assert AuditEvent.objects.get(action="webhook_endpoint.deleted").before["url"] == "https://hooks.example.com/in"
