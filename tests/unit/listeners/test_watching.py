"""From a change on a real web server to what it invalidated."""

import asyncio
import json
from datetime import timedelta

import pytest

from agentcache.audit.models import AuditEvent
from agentcache.engine.entries import Selector
from agentcache.engine.stores.port import Put, StoreUnavailable
from agentcache.gateway.ports import DELIVER_WEBHOOK, REFRESH_OUTDATED
from agentcache.jobs.models import Job
from agentcache.listeners.models import KeptText, Listener, ListenerEvent
from agentcache.listeners.services.records import EVENTS_MAX, FAILURES_MAX
from agentcache.mails.models import Mail
from agentcache.teams.models import Team
from agentcache.webhooks.models import Message
from tests.support.entries import make_entry, make_key, make_tenant
from tests.support.teams import join
from tests.support.watched_site import page
from tests.support.watched_source import INTERVAL_SECONDS, WatchedSource
from tests.support.webhooks import make_endpoint
from tests.unit.listeners.conftest import watching


@pytest.fixture
def source(team, settings, threads, watch, clock):
    return WatchedSource(team, settings, threads, watch, clock)


async def fill(stores, team, clock, **entries):
    """Store an entry for each name, with its metadata."""
    for name, meta in entries.items():
        entry = make_entry(name, stored_at=clock.now(), lifetime_seconds=10 * 86_400.0, **meta)
        assert await stores.entries.put(make_tenant(team.pk), entry) is Put.STORED


async def left(stores, team, *names):
    tenant = make_tenant(team.pk)
    return [name for name in names if (await stores.entries.get(tenant, make_key(name))).entry is not None]


async def test_a_change_removes_what_names_the_source_and_nothing_else(source, site, stores, team, clock):
    url = site.put("/prices", page())
    await source.register(url)
    await fill(
        stores, team, clock,
        named={"sources": (url,)}, other={"sources": (url + "/more",)}, plain={}, tagged={"tags": ("prices",)},
    )  # fmt: skip
    await fill(stores, team_like(team), clock, foreign={"sources": (url,)})
    row = await source.look()
    assert (row.changes, row.last_status) == (0, 304)
    site.put("/prices", page("The price is $12."))
    row = await source.look()
    assert (row.changes, row.last_status, row.kind) == (1, 200, "html")
    assert await left(stores, team, "named", "other", "plain", "tagged") == ["other", "plain", "tagged"]
    assert await left(stores, team_like(team), "foreign") == ["foreign"]
    event = (await source.history())[0]
    assert (event.kind, event.invalidated) == ("changed", 1)
    assert event.selectors[0] == {"what": "source", "value": url, "entries": 1}
    assert "-The price is $10." in event.diff
    assert "+The price is $12." in event.diff
    assert (event.added, event.removed) == (1, 1)


class team_like:  # noqa: N801 - stands for another team
    def __init__(self, _team):
        self.pk = "another"


async def test_what_is_no_content_is_no_change(source, site):
    url = site.put("/prices", page(), has_validators=False)
    await source.register(url)
    for number in "2345":
        site.put("/prices", page(furniture=number), has_validators=False)
        row = await source.look()
    assert (row.changes, row.checks, row.failures_in_row) == (0, 5, 0)
    assert await source.kinds() == ["first"]


async def test_tags_and_namespaces_go_with_the_source(source, site, stores, team, clock):
    url = site.put("/a", page())
    entries = {
        "in_both": {"namespace": "prod", "tags": ("prices", "x")},
        "elsewhere": {"namespace": "eval", "tags": ("prices",)},
        "untagged": {"namespace": "prod"},
    }
    await source.register(url, namespace="prod", tags=("prices",))
    await fill(stores, team, clock, **entries)
    site.put("/a", page("Now $11."))
    await source.look()
    assert await left(stores, team, *entries) == ["elsewhere", "untagged"]
    everything = WatchedSource(team, source.settings, source.threads, source.watch, clock)
    await everything.register(site.put("/b", page()), namespace="prod")
    await fill(stores, team, clock, **entries)
    site.put("/b", page("Now $11."))
    await everything.look()
    assert await left(stores, team, *entries) == ["elsewhere"]


async def test_a_listener_may_only_record(source, site, stores, team, clock):
    url = site.put("/a", page())
    await source.register(url, invalidates=False, namespace="prod")
    await fill(stores, team, clock, kept={"sources": (url,), "namespace": "prod"})
    site.put("/a", page("Now $11."))
    row = await source.look()
    assert row.changes == 1
    assert await left(stores, team, "kept") == ["kept"]
    assert (await source.history())[0].selectors == []


@pytest.mark.parametrize(
    ("kind", "before", "after", "item"),
    [
        ("application/rss+xml", "rss", "<rss version='2.0'><channel><title>t</title>{}</channel></rss>", "/post/2"),
        ("application/xml", "sitemap", "<urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9'>{}</urlset>", "/post/2"),
    ],
    ids=["feed", "sitemap"],
)  # fmt: skip
async def test_an_item_of_a_feed_or_sitemap_is_a_source_of_its_own(
    source, site, stores, team, clock, kind, before, after, item
):
    def document(second):
        if before == "rss":
            items = f"<item><title>One</title><link>{site.url}/post/1</link></item><item><title>{second}</title><link>{site.url}{item}</link></item>"
        else:
            items = f"<url><loc>{site.url}/post/1</loc></url><url><loc>{site.url}{item}</loc><lastmod>{second}</lastmod></url>"
        return '<?xml version="1.0"?>' + after.format(items)

    url = site.put("/list.xml", document("2026-01-01"), kind)
    await source.register(url)
    await fill(stores, team, clock, first={"sources": (f"{site.url}/post/1",)}, second={"sources": (site.url + item,)})
    site.put("/list.xml", document("2026-02-02"), kind)
    row = await source.look()
    assert row.changes == 1
    assert await left(stores, team, "first", "second") == ["first"]


@pytest.mark.parametrize(
    ("selector", "before", "irrelevant", "relevant", "kind"),
    [
        ("#a", "<p id=a>One</p><p>x</p>", "<p id=a>One</p><p>y</p>", "<p id=a>Two</p><p>x</p>", "text/html"),
        ("$.price", '{"price": 1, "at": 2}', '{"at": 3, "price": 1}', '{"at": 3, "price": 2}', "application/json"),
    ],
)
async def test_only_the_selected_part_counts(source, site, selector, before, irrelevant, relevant, kind):
    url = site.put("/x", before, kind)
    await source.register(url, selector=selector)
    site.put("/x", irrelevant, kind)
    assert (await source.look()).changes == 0
    site.put("/x", relevant, kind)
    assert (await source.look()).changes == 1


async def test_a_death_between_invalidating_and_writing_down_repeats_both(
    source, site, stores, team, clock, threads, monkeypatch
):
    url = site.put("/a", page())
    await source.register(url)
    await fill(stores, team, clock, first={"sources": (url,)})
    site.put("/a", page("Now $11."))

    async def die(_self):
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr("agentcache.listeners.watching.Watch.write_down", die)
        await source.watch.start_due()
        with pytest.raises(asyncio.CancelledError):
            await source.watch.settle()
    assert await left(stores, team, "first") == []
    assert (await source.row()).changes == 0
    # What was stored after that, from what the source said before, goes all the same.
    await fill(stores, team, clock, second={"sources": (url,)})
    clock.move(200)
    async with watching(threads, stores, clock) as another:
        source.watch = another
        row = await source.look()
    assert row.changes == 1
    assert await left(stores, team, "second") == []


async def test_a_store_that_is_away_is_no_fault_of_the_source(source, site, stores, clock, monkeypatch):
    url = site.put("/a", page())
    await source.register(url)
    site.put("/a", page("Now $11."))

    async def away(_store, _tenant, _selector):
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(stores.entries.__class__, "withdraw", away)
        row = await source.look(200)
    assert (row.changes, row.failures_in_row) == (0, 0)
    assert (await source.look()).changes == 1


async def test_what_a_listener_sees_is_told(source, site, team):
    await source.register(site.put("/a", page()), webhook_url="https://hooks.example.com/x?secret=1", tags=("t",))
    site.put("/a", page("Now $11."))
    await source.look()
    job = await source.run(Job.objects.filter(name=DELIVER_WEBHOOK).get)
    told = json.loads(job.payload["body"])
    assert (job.payload["tenant_id"], job.payload["url"]) == (team.pk, "https://hooks.example.com/x?secret=1")
    assert told["type"] == "listener.changed"
    assert (told["data"]["listener_id"], told["data"]["tags"]) == (source.id, ["t"])
    assert "+Now $11." in told["data"]["summary"]
    audited = await source.run(lambda: list(AuditEvent.objects.filter(target_id=source.id).order_by("id")))
    assert [row.action for row in audited] == ["listener.created", "listener.source_changed"]
    assert "secret=1" not in str([row.after for row in audited])


async def test_what_a_change_removed_is_written_down_and_told_as_an_invalidation(source, site, stores, team, clock):
    await source.run(lambda: make_endpoint(team, event_types=["cache.invalidated"]))
    url = site.put("/a", page())
    await source.register(url, tags=("shop",), namespace="prod", invalidates=True)
    tagged = {"tags": ("shop",), "namespace": "prod"}
    await fill(stores, team, clock, one={"sources": (url,)}, two={"sources": (url,)}, three=tagged)
    site.put("/a", page("Now $11."))
    await source.look()
    rows = await source.run(lambda: list(AuditEvent.objects.filter(action="cache.invalidated").order_by("id")))
    told = [(row.after.get("url"), row.after.get("tags"), row.after["entries"], row.after["cause"]) for row in rows]
    assert told == [(url, None, 2, "listener"), (None, ["shop"], 1, "listener")]
    assert await source.run(Message.objects.filter(event_type="cache.invalidated").count) == 2


async def test_a_change_has_outdated_answers_asked_anew_where_that_is_wanted(source, site, team, clock):
    url = site.put("/a", page())
    await source.register(url, tags=("shop",), invalidates=False, refreshes=True)
    site.put("/a", page("Now $11."))
    await source.look()
    job = await source.run(Job.objects.filter(name=REFRESH_OUTDATED).get)
    event = (await source.history())[0]
    # The record keeps whole microseconds.
    assert event.at.timestamp() - 1e-6 <= job.payload["at"] <= clock.now()
    assert job.payload == {
        "tenant_id": team.pk, "at": job.payload["at"], "sources": [url], "tags": ["shop"], "event_id": event.pk,
    }  # fmt: skip
    assert (event.invalidated, event.asked_anew) == (0, None)


async def test_repeated_failure_backs_off_then_pauses_and_tells(source, site, team):
    await source.run(lambda: [join(team, "admin@example.com", "admin"), join(team, "member@example.com")])
    url = site.put("/a", page())
    await source.register(url)
    site.put("/a", "", status=b"500 Oops")
    pauses = []
    for _ in range(FAILURES_MAX):
        before = source.now
        row = await source.look(0)
        pauses.append((row.next_check_at - before) / timedelta(seconds=1))
        source.clock.move(2 * 86_400)
    assert row.paused_because == "failures"
    assert row.failure == "The source answered 500."
    rising = [900 * 2**number for number in range(7)]
    assert all(least <= pause <= 1.1 * least for least, pause in zip(rising, pauses, strict=False)), pauses
    assert pauses[-1] <= 1.1 * 86_400
    assert await source.kinds() == ["first", "failed", "paused"]
    assert (await source.history())[1].times == FAILURES_MAX
    mails = await source.run(lambda: list(Mail.objects.filter(template="listener-paused").values_list("to", flat=True)))
    assert mails == ["admin@example.com"]
    asked = len(site.requests_of("/a"))
    await source.look()
    assert len(site.requests_of("/a")) == asked


async def test_a_source_that_comes_back_is_as_before(source, site):
    url = site.put("/a", page())
    await source.register(url)
    site.put("/a", "", status=b"503 Busy", headers=(b"Retry-After: 7200",))
    before = source.now
    row = await source.look(2 * 86_400)
    assert (row.failures_in_row, row.next_check_at >= before + timedelta(hours=2)) == (1, True)
    site.put("/a", page())
    row = await source.look()
    assert (row.failures_in_row, row.failure, row.changes) == (0, "", 0)
    assert await source.kinds() == ["first", "failed", "recovered"]


async def test_requests_are_polite(source, site):
    url = site.put("/a", page())
    await source.register(url)
    await source.look()
    first, second = site.requests_of("/a")
    assert b"user-agent: AgentCache-Listener/" in first
    assert b"(+https://cache.example.com/docs/how-to/watch-a-source)" in first
    assert b"accept-encoding: identity" in first
    assert b"if-none-match" not in first
    assert b"if-none-match: " + site.pages["/a"].etag in second
    assert len(site.requests_of("/robots.txt")) == 1


async def test_robots_txt_is_respected(source, site):
    site.put("/robots.txt", "User-agent: AgentCache-Listener\nDisallow: /private\nCrawl-delay: 20\n", "text/plain")
    url = site.put("/private/a", page())
    await source.register(url)
    row = await source.row()
    assert row.failure == "The source's robots.txt does not allow it."
    assert site.requests_of("/private/a") == []


async def test_an_interval_is_never_lengthened(source, site):
    await source.register(site.put("/a", page()))
    for _ in range(5):
        before = source.now
        row = await source.look()
        pause = (row.next_check_at - before) / timedelta(seconds=1)
        assert 0.9 * INTERVAL_SECONDS <= pause <= INTERVAL_SECONDS


async def test_what_was_changed_meanwhile_is_not_overwritten(source, site, clock, threads):
    from agentcache.audit.services import Actor
    from agentcache.listeners import services

    await source.register(site.put("/a", page()))
    other = site.put("/b", page("Another page."))
    site.put("/a", page("Now $11."))
    await source.watch.start_due()
    now = source.now
    await source.run(
        lambda: services.change(source.team, source.id, {"url": other}, source.settings, now, actor=Actor.system())
    )
    await source.watch.settle()
    row = await source.row()
    assert (row.url, row.changes, bytes(row.text_digest)) == (other, 0, b"")
    clock.move(2)
    row = await source.look()
    assert (row.changes, row.kind) == (0, "html")


async def test_checks_under_way_are_given_back_at_the_end(source, site, threads, stores, clock, monkeypatch):
    started = asyncio.Event()

    async def hang(_self, _row):
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("agentcache.listeners.checking.Checker.check", hang)
    stop = asyncio.Event()
    running = asyncio.create_task(source.watch.run(stop, drain_seconds=0.0))
    now = source.now
    from agentcache.audit.services import Actor
    from agentcache.listeners import services
    from agentcache.listeners.rules import Wanted

    wanted = Wanted(site.url + "/a", INTERVAL_SECONDS)
    await source.run(lambda: services.register(source.team, wanted, source.settings, now, actor=Actor.system()))
    await started.wait()
    stop.set()
    await running
    assert await source.run(Listener.objects.filter(claimed_until__isnull=True).count) == 1


async def test_history_is_bounded(source, site, monkeypatch):
    monkeypatch.setattr("agentcache.listeners.services.records.EVENTS_MAX", 3)
    await source.register(site.put("/a", page(), has_validators=False))
    for number in range(5):
        site.put("/a", page(f"Now ${number}0."), has_validators=False)
        await source.look()
    assert await source.kinds() == ["changed"] * 3
    assert EVENTS_MAX == 200
    assert await source.run(ListenerEvent.objects.count) == 3
    assert await source.run(KeptText.objects.count) == 1


async def test_deleting_a_team_leaves_nothing(source, site, stores, team):
    await source.register(site.put("/a", page()))
    await source.run(lambda: Team.objects.filter(pk=team.pk).delete())
    for model in (Listener, ListenerEvent, KeptText):
        assert await source.run(model.objects.count) == 0
    assert await stores.entries.count(make_tenant(team.pk), Selector()) == 0
