import pytest

from agentcache.accounts.errors import TeamsNeedOwner
from agentcache.audit.models import AuditEvent
from agentcache.audit.services import Actor
from agentcache.jobs.models import Job
from agentcache.kit.errors import BadRequest
from agentcache.teams import queries, services
from agentcache.teams.errors import InvalidLogo, LogoNotFound, MissingPermission, NameMismatch
from agentcache.teams.jobs import PURGE_TEAM
from agentcache.teams.models import Membership, Team, TeamLogo
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services.logos import LOGO_BYTES_MAX
from tests.support.teams import mails_of, make_team, make_user

SYSTEM = Actor.system()
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64)
PICTURES = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(64) + b"\xff\xd9",
    "webp": b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(64),
}
NO_PICTURES = {
    "empty": b"",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "html": b"<!doctype html><script>alert(1)</script>",
    "gif": b"GIF89a" + bytes(64),
    "cut-png": PNG[:10],
    "html-in-riff": b"RIFF\x24\x00\x00\x00AVI <script>",
    "too-large": PNG + bytes(LOGO_BYTES_MAX),
}


def test_everybody_gets_a_team_of_their_own(project):
    user = make_user("ada@example.com", name="Ada Lovelace")
    team = services.create_personal_team(user)
    member = queries.last_used_membership(user)
    assert (team.name, team.is_personal) == ("Ada Lovelace’s team", True)
    assert (member.team, member.role, member.is_owner, member.has_billing) == (team, "admin", True, True)


@pytest.mark.parametrize("name", ["", " ", "x" * 100, "two\nlines"], ids=["empty", "blank", "long", "lines"])
def test_a_personal_team_has_a_name_whatever_its_owner_is_called(project, name):
    team = services.create_personal_team(make_user("ada@example.com", name=name))
    assert team.name.endswith("’s team")
    assert len(team.name) <= 64


def test_settings_change_one_by_one_and_are_written_down(team):
    services.update_team(team, actor=SYSTEM, name=" Red Foxes ", default_namespace="eval", default_lifetime="12h")
    row = Team.objects.get(pk=team.pk)
    assert (row.name, row.default_namespace, row.default_lifetime_seconds) == ("Red Foxes", "eval", 43200)
    services.update_team(team, actor=SYSTEM, default_lifetime="")
    assert Team.objects.get(pk=team.pk).default_lifetime_seconds is None
    services.update_team(team, actor=SYSTEM, default_lifetime="")
    events = list(AuditEvent.objects.filter(action="team.updated").order_by("id").values_list("before", "after"))
    assert events[1:] == [({"default_lifetime_seconds": 43200}, {"default_lifetime_seconds": None})]
    assert events[0][0]["name"] == "Blue Whales"


@pytest.mark.parametrize(
    "wrong",
    [{"name": ""}, {"name": "a\nb"}, {"default_namespace": "no spaces"}, {"default_namespace": ""},
     {"default_lifetime": "soon"}, {"default_lifetime": "0"}, {"default_lifetime": "99999d"}],
    ids=str,
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused_and_named(team, wrong):
    with pytest.raises(BadRequest) as refused:
        services.update_team(team, actor=SYSTEM, **wrong)
    assert refused.value.param == next(iter(wrong))
    assert not AuditEvent.objects.exists()


def test_a_new_key_takes_the_teams_namespace(team):
    services.update_team(team, actor=SYSTEM, default_namespace="eval")
    team.refresh_from_db()
    assert services.create_api_key(current_secrets(), team, "ci").row.namespace == "eval"
    assert services.create_api_key(current_secrets(), team, "ci", namespace="prod").row.namespace == "prod"


@pytest.mark.parametrize("kind", list(PICTURES))
def test_a_picture_is_known_by_its_own_bytes(team, kind):
    services.set_logo(team, PICTURES[kind], actor=SYSTEM)
    logo = queries.find_logo(team)
    assert (logo.kind, bytes(logo.content)) == (kind, PICTURES[kind])
    services.remove_logo(team, actor=SYSTEM)
    assert queries.find_logo(team) is None


@pytest.mark.parametrize("content", list(NO_PICTURES.values()), ids=list(NO_PICTURES))
def test_what_is_no_picture_is_refused(team, content):
    with pytest.raises(InvalidLogo):
        services.set_logo(team, content, actor=SYSTEM)
    assert not TeamLogo.objects.exists()


def test_a_deleted_team_takes_keys_and_members_along_tells_them_and_has_its_entries_purged(team, owner, admin):
    key = services.create_api_key(current_secrets(), team, "ci")
    with pytest.raises(NameMismatch):
        services.delete_team(team, "blue whales", by=owner, actor=SYSTEM)
    with pytest.raises(MissingPermission):
        services.delete_team(team, team.name, by=admin, actor=SYSTEM)
    services.delete_team(team, team.name, by=owner, actor=SYSTEM)
    assert not Team.objects.filter(pk=team.pk).exists()
    assert not Membership.objects.exists()
    assert queries.find_live_api_key(current_secrets().possible_hashes(key.api_key)) is None
    assert [mail.to for mail in mails_of("team-deleted")] == ["admin@example.com"]
    assert Job.objects.get(name=PURGE_TEAM).payload == {"team_id": team.pk}
    assert AuditEvent.objects.filter(team_id=team.pk, action="team.deleted").count() == 1


def test_whoever_deletes_the_account_leaves_teams_and_ends_those_of_nobody_else(project, team, owner, admin):
    personal = services.create_personal_team(admin.user)
    services.leave_every_team(admin.user)
    assert not Team.objects.filter(pk=personal.pk).exists()
    assert [row.membership for row in queries.list_members(team).rows] == [owner]


def test_an_account_with_others_teams_stays_until_they_have_another_owner(project, team, owner, admin):
    personal = services.create_personal_team(owner.user)
    with pytest.raises(TeamsNeedOwner, match="Blue Whales"):
        services.leave_every_team(owner.user)
    assert Team.objects.filter(pk=personal.pk).exists()
    assert Membership.objects.filter(user=owner.user).count() == 2


def test_the_picture_of_a_team_without_one_is_not_found(team):
    from agentcache.teams import logo_response

    with pytest.raises(LogoNotFound):
        logo_response.of(make_team("Red Foxes"))


def test_slugs_made_at_the_same_moment_differ(project, monkeypatch):
    from agentcache.teams.services import teams

    answers = iter(["blue-whales", "blue-whales-2"])
    make_team()
    monkeypatch.setattr(teams, "free_slug", lambda wanted: next(answers))
    assert make_team().slug == "blue-whales-2"
