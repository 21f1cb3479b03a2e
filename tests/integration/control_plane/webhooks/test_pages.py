"""The pages of webhooks and jobs as members of each role walk them, without a browser's scripts."""

import re

import pytest

from agentcache.webhooks.models import Delivery, Endpoint
from tests.support.sessions import browser_of

HOOKS = "/dashboard/webhooks"
#: Page -> roles that see it.
PAGES = {
    HOOKS: {"admin", "member"},
    f"{HOOKS}/new": {"admin"},
    f"{HOOKS}/event-types": {"admin", "member"},
    f"{HOOKS}/{{endpoint}}": {"admin", "member"},
    f"{HOOKS}/{{endpoint}}/change": {"admin"},
    f"{HOOKS}/{{endpoint}}/rotate": {"admin"},
    f"{HOOKS}/{{endpoint}}/delete": {"admin"},
    f"{HOOKS}/{{endpoint}}/deliveries/{{delivery}}": {"admin", "member"},
    "/dashboard/jobs": {"admin", "member", "viewer"},
    "/dashboard/jobs/{task}": {"admin", "member", "viewer"},
}
FORM = {"url": "https://hooks.example.com/in", "event_types": ["cache.invalidated", "cache.hit"], "hits_per_mille": "5"}


@pytest.fixture
def browsers(people):
    return {role: browser_of(row.user) for role, row in people.items()}


@pytest.fixture
def admin(browsers):
    return browsers["admin"]


def text_of(answer):
    return re.sub(r"\s+", " ", answer.content.decode())


def test_t6_each_role_sees_the_pages_that_the_table_gives_it(browsers, endpoint, delivery, task):
    places = {"endpoint": endpoint.pk, "delivery": delivery.pk, "task": task.pk}
    seen = {
        page: {role for role, browser in browsers.items() if browser.get(page.format(**places)).status_code == 200}
        for page in PAGES
    }
    assert seen == PAGES


def test_the_pages_of_another_team_are_not_there(endpoint, delivery, task):
    from tests.support.teams import join, make_team

    fox = browser_of(join(make_team("Red Foxes"), "fox@example.com", "owner").user)
    places = {"endpoint": endpoint.pk, "delivery": delivery.pk, "task": task.pk}
    for page in PAGES:
        if "{" in page:
            assert fox.get(page.format(**places)).status_code == 404, page
    for action in ("switch", "test", "redeliver", "delete"):
        assert fox.post(f"{HOOKS}/{endpoint.pk}/{action}", {"event_type": "cache.hit", "state": "failed",
            "since": "2026-01-01T00:00", "until": "2030-01-01T00:00"}).status_code == 404, action  # fmt: skip
    assert Endpoint.objects.get().is_enabled


def test_an_endpoint_is_made_tested_changed_and_deleted(admin):
    assert "No endpoints yet" in text_of(admin.get(HOOKS))
    page = admin.get(f"{HOOKS}/new")
    once = re.search(r'name="once" value="(\w+)"', page.content.decode())[1]
    made = admin.post(f"{HOOKS}/new", {**FORM, "once": once})
    assert made.status_code == 201
    secret = re.search(r"whsec_[\w+/=]+", made.content.decode())[0]
    endpoint = Endpoint.objects.get()
    assert (endpoint.event_types, endpoint.hits_per_mille) == (["cache.invalidated", "cache.hit"], 5)
    # Loading the page anew sends the form again, and makes no second one.
    again = admin.post(f"{HOOKS}/new", {**FORM, "once": once})
    assert again["Location"] == f"{HOOKS}/{endpoint.pk}"
    here = f"{HOOKS}/{endpoint.pk}"
    assert secret not in admin.get(here).content.decode()
    sent = admin.post(f"{here}/test", {"event_type": "cache.hit"}, follow=True)
    assert "It waits for its first try" in text_of(sent)
    assert Delivery.objects.get().message.is_test
    assert "whpk_" not in text_of(admin.get(here))
    changed = admin.post(f"{here}/change", {**FORM, "description": "CRM", "signs_with_key": "on"}, follow=True)
    assert "CRM" in text_of(changed) and "whpk_" in text_of(changed)
    assert "checked" in re.search(r"<input[^>]*signs_with_key[^>]*>", text_of(admin.get(f"{here}/change")))[0]
    rotated = admin.post(f"{here}/rotate", {"overlap": "24", "once": "x"})
    assert rotated.status_code == 201
    assert secret not in rotated.content.decode()
    assert "a former one signs along until" in text_of(admin.get(here))
    assert "The endpoint is off" in text_of(admin.post(f"{here}/switch", {"on": "0"}, follow=True))
    assert "Switch it on to send a test" in text_of(admin.get(here))
    assert "is deleted" in text_of(admin.post(f"{here}/delete", follow=True))


def test_what_is_wrong_is_said_beside_its_field(admin):
    refused = admin.post(f"{HOOKS}/new", {**FORM, "url": "https://127.0.0.1/"})
    assert refused.status_code == 422
    assert "Webhooks are sent to public addresses only." in text_of(refused)
    assert not Endpoint.objects.exists()


def test_a_delivery_shows_what_came_back_as_text(admin, endpoint, delivery):
    page = text_of(admin.get(f"{HOOKS}/{endpoint.pk}/deliveries/{delivery.pk}"))
    assert "&lt;script&gt;alert(1)&lt;/script&gt; not now" in page
    assert "<script>alert" not in page
    again = admin.post(f"{HOOKS}/{endpoint.pk}/deliveries/{delivery.pk}/redeliver", follow=True)
    assert "It is on its way again." in text_of(again)


def test_deliveries_are_filtered(admin, endpoint, delivery):
    here = f"{HOOKS}/{endpoint.pk}"
    assert delivery.pk in text_of(admin.get(f"{here}?state=waiting"))
    assert "No delivery fits these filters" in text_of(admin.get(f"{here}?state=delivered"))
    assert delivery.pk in text_of(admin.get(f"{here}?state=nonsense&event_type=nonsense"))


def test_a_range_is_sent_again_as_a_job(admin, endpoint, delivery):
    Delivery.objects.update(state="failed")
    form = {"state": "failed", "since": "2020-01-01T00:00", "until": "2040-01-01T00:00"}
    page = text_of(admin.post(f"{HOOKS}/{endpoint.pk}/redeliver", form, follow=True))
    assert "Send webhooks to https://hooks.example.com/in again" in page
    assert "0 of 1" in page
    wrong = admin.post(f"{HOOKS}/{endpoint.pk}/redeliver", {**form, "until": "2020-01-01T00:00"})
    assert wrong.status_code == 422
    assert "A range begins before it ends." in text_of(wrong)


def test_a_job_renews_itself_until_it_has_ended(admin, team, task):
    from django.utils import timezone

    from agentcache.tasks import services
    from agentcache.tasks.models import TaskState
    from agentcache.tasks.services import Progress

    here = f"/dashboard/jobs/{task.pk}"
    assert 'hx-trigger="every 2s"' in text_of(admin.get(here))
    begun = services.begin(task.pk, timezone.now())
    services.step(begun, lambda: Progress(done=10, lines=["<b>ten</b>"]), timezone.now)
    renewed = text_of(admin.get(here, headers={"HX-Request": "true"}))
    assert "10 of 40" in renewed
    assert "&lt;b&gt;ten&lt;/b&gt;" in renewed
    assert "<html" not in renewed
    listed = text_of(admin.get("/dashboard/jobs", headers={"HX-Request": "true"}))
    assert "10 of 40" in listed
    services.end(begun, TaskState.DONE, timezone.now())
    assert "hx-trigger" not in text_of(admin.get(here, headers={"HX-Request": "true"}))
    assert "hx-trigger" not in text_of(admin.get("/dashboard/jobs", headers={"HX-Request": "true"}))


def test_a_job_is_cancelled(browsers, task):
    here = f"/dashboard/jobs/{task.pk}"
    assert "Cancel this job" not in text_of(browsers["viewer"].get(here))
    assert browsers["viewer"].post(f"{here}/cancel").status_code == 403
    page = text_of(browsers["member"].post(f"{here}/cancel", follow=True))
    assert "The job ends before its next step" in page
    assert "ending" in page
