"""Settings of namespaces: kept once checked, by whom may, with what was before in the audit log."""

import json
from functools import partial

import pytest
from django.test import Client

from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.engine.semantic.settings import SemanticMode, SemanticSettings, settings_for
from agentcache.engine.semantic.verifier import load_verifier
from agentcache.gateway.ports import Scope
from agentcache.jobs.database import DatabaseThreads
from agentcache.semantics import queries, services
from agentcache.semantics.drafts import SettingsDraft
from agentcache.semantics.errors import InvalidSemantics, SemanticsChanged, SemanticsNotFound, TooManyNamespaces
from agentcache.semantics.models import Evidence, NamespaceSettings
from agentcache.semantics.services import settings as settings_services
from agentcache.semantics.settings_book import semantics_of
from agentcache.teams.secrets import current_secrets, current_settings
from agentcache.teams.services import create_api_key
from agentcache.web.directory import open_directory
from tests.support import usage
from tests.support.teams import join, make_team

SYSTEM = Actor.system()


def browser_of(member):
    """Return a browser that is signed in and says where its forms come from."""
    client = usage.browser_of(member)
    client.defaults["HTTP_ORIGIN"] = "http://127.0.0.1:8787"
    return client


@pytest.fixture
def team(project):
    return make_team()


def test_a_namespace_is_set_changed_and_left_to_the_others(team):
    admin = join(team, "admin@example.com", "admin").user
    actor = Actor(user_id=str(admin.pk), user_email=admin.email)
    assert queries.settings_in_force(team, "prod") is None
    services.save_settings(team, "*", SettingsDraft("shadow"), actor=actor)
    services.save_settings(team, "prod", SettingsDraft("safe"), actor=actor)
    changed = services.save_settings(team, "prod", SettingsDraft("balanced", target=0.05), actor=actor, based_on=1)
    assert (changed.revision, changed.changed_by) == (2, "admin@example.com")
    assert [row.namespace for row in queries.settings_of(team)] == ["*", "prod"]
    assert queries.settings_in_force(team, "prod").mode == "balanced"
    services.remove_settings(team, "prod", actor=actor)
    assert queries.settings_in_force(team, "prod").mode == "shadow"
    told = list(AuditEvent.objects.filter(team_id=team.pk).order_by("at", "id"))
    assert [event.action for event in told] == ["semantics.changed"] * 3 + ["semantics.removed"]
    assert (told[2].before["mode"], told[2].after["mode"], told[2].after["target"]) == ("safe", "balanced", 0.05)
    assert (told[3].before["mode"], told[3].after) == ("balanced", None)


def test_what_changes_nothing_is_no_change(team):
    services.save_settings(team, "prod", SettingsDraft("safe"), actor=SYSTEM)
    assert services.save_settings(team, "prod", SettingsDraft("safe"), actor=SYSTEM).revision == 1
    assert AuditEvent.objects.filter(team_id=team.pk).count() == 1


def test_nobodys_change_is_lost(team):
    services.save_settings(team, "prod", SettingsDraft("safe"), actor=SYSTEM, based_on=0)
    for stale in (0, 2):
        with pytest.raises(SemanticsChanged):
            services.save_settings(team, "prod", SettingsDraft("off"), actor=SYSTEM, based_on=stale)
    assert queries.get_settings(team, "prod").mode == "safe"


def test_a_learned_threshold_holds_for_what_it_was_learned_for(team):
    services.save_settings(team, "*", SettingsDraft("shadow"), actor=SYSTEM)
    learned = {"learned_threshold": 0.8, "verifier": load_verifier().version, "target": 0.02}
    Evidence.objects.create(team=team, namespace="prod", **learned)
    assert {name: one.learned_threshold for name, one in semantics_of(team.pk).items()} == {"*": None, "prod": 0.8}
    services.save_settings(team, "prod", SettingsDraft("balanced"), actor=SYSTEM)
    assert semantics_of(team.pk)["prod"] == SemanticSettings(SemanticMode.BALANCED, learned_threshold=0.8)
    for other in (SettingsDraft("balanced", target=0.01), SettingsDraft("custom", verifier="cosine", threshold=0.95)):
        services.save_settings(team, "prod", other, actor=SYSTEM)
        assert semantics_of(team.pk)["prod"].learned_threshold is None
    assert semantics_of(make_team("Others").pk) == {}


async def test_the_gateway_gets_them_with_the_principal(team):
    threads = DatabaseThreads(answer_within_seconds=60)
    try:
        created = await threads.run(partial(create_api_key, current_secrets(), team, "key"))
        directory = open_directory(current_settings(), threads)
        before = await directory.find_principal(created.api_key)
        await threads.run(partial(services.save_settings, team, "prod", SettingsDraft("safe"), actor=SYSTEM))
        after = await directory.find_principal(created.api_key)
    finally:
        threads.close()
    assert (before.semantics, set(after.semantics)) == ({}, {"prod"})
    assert settings_for(after.semantics, "prod").mode is SemanticMode.SAFE
    assert settings_for(after.semantics, "other").mode is SemanticMode.OFF


@pytest.mark.parametrize(
    ("namespace", "draft", "param"),
    [
        ("a b", SettingsDraft(), "namespace"),
        ("", SettingsDraft(), "namespace"),
        ("prod", SettingsDraft("on"), "mode"),
        ("prod", SettingsDraft("safe", verifier="magic"), "verifier"),
        ("prod", SettingsDraft("safe", verifier="cosine"), "verifier"),
        ("prod", SettingsDraft("custom"), "threshold"),
        ("prod", SettingsDraft("custom", threshold=1.2), "threshold"),
        ("prod", SettingsDraft("custom", threshold=float("nan")), "threshold"),
        ("prod", SettingsDraft("custom", verifier="cosine", threshold=0.3), "threshold"),
        ("prod", SettingsDraft("safe", target=0.0), "target"),
        ("prod", SettingsDraft("safe", target=0.5), "target"),
        ("prod", SettingsDraft("safe", shadow_share=-0.1), "shadow_share"),
    ],
)
def test_what_is_not_understood_is_refused_and_leaves_no_trace(team, namespace, draft, param):
    with pytest.raises(InvalidSemantics) as refused:
        services.save_settings(team, namespace, draft, actor=SYSTEM)
    assert refused.value.param == param
    assert not NamespaceSettings.objects.exists()


def test_a_team_has_so_many_namespaces_and_no_more(team, monkeypatch):
    monkeypatch.setattr(settings_services, "NAMESPACES_MAX", 2)
    for name in ("one", "two"):
        services.save_settings(team, name, SettingsDraft("safe"), actor=SYSTEM)
    with pytest.raises(TooManyNamespaces):
        services.save_settings(team, "three", SettingsDraft("safe"), actor=SYSTEM)
    services.save_settings(team, "two", SettingsDraft("off"), actor=SYSTEM)


def test_another_teams_settings_are_nobodys(team):
    services.save_settings(team, "prod", SettingsDraft("safe"), actor=SYSTEM)
    other = make_team("Others")
    assert queries.settings_of(other) == []
    with pytest.raises(SemanticsNotFound):
        services.remove_settings(other, "prod", actor=SYSTEM)


def call(client, method, path="", body=None, **headers):
    data = {} if body is None else {"data": json.dumps(body), "content_type": "application/json"}
    answer = getattr(client, method)(f"/api/semantics{path}", headers=headers, **data)
    return answer.status_code, json.loads(answer.content) if answer.content else None


def test_the_api_lets_admins_change_and_everybody_read(team):
    admin, member, viewer = (
        browser_of(join(team, f"{role}@example.com", role)) for role in ("admin", "member", "viewer")
    )
    status, shown = call(admin, "put", "/settings/prod", {"mode": "safe"})
    assert (status, shown["mode"], shown["target"], shown["revision"]) == (200, "safe", 0.02, 1)
    for client in (member, viewer):
        assert call(client, "put", "/settings/prod", {"mode": "off"})[0] == 403
        assert call(client, "delete", "/settings/prod")[0] == 403
        status, shown = call(client, "get", "/settings")
        assert (status, [row["namespace"] for row in shown]) == (200, ["prod"])
    assert call(viewer, "get", "/settings/prod")[1]["changed_by"] == "admin@example.com"
    assert call(viewer, "get", "/settings/other")[0] == 404
    status, problem = call(admin, "put", "/settings/prod", {"mode": "custom"})
    assert (status, problem["code"], problem["param"]) == (400, "invalid_semantics", "threshold")
    assert call(admin, "put", "/settings/prod", {"mode": "off", "based_on": 7})[0] == 409
    assert call(admin, "put", "/settings/prod", {"mode": "off", "colour": "red"})[0] == 400
    assert call(admin, "put", "/settings/%2A", {"mode": "shadow"})[1]["namespace"] == "*"
    assert call(admin, "delete", "/settings/prod")[0] == 204
    assert call(admin, "delete", "/settings/prod")[0] == 404


def test_keys_reach_their_own_team_and_what_their_scopes_allow(team):
    services.save_settings(team, "prod", SettingsDraft("safe"), actor=SYSTEM)
    other = make_team("Others")
    for owner, scope, read, write in (
        (team, Scope.ADMIN, 200, 200),
        (team, Scope.STATS_READ, 403, 403),
        (other, Scope.ADMIN, 404, 200),
    ):
        key = create_api_key(current_secrets(), owner, scope.value, scopes=frozenset({scope}))
        headers = {"X-AgentCache-Key": key.api_key}
        client = Client(headers={"host": "127.0.0.1:8787"})
        assert call(client, "get", "/settings/prod", **headers)[0] == read
        assert call(client, "put", "/settings/prod", {"mode": "off"}, **headers)[0] == write
    assert queries.get_settings(team, "prod").mode == "off"
