"""What sources may do to us, and what they learn (S5, S7, S9, S10), on real sockets without a list of allowed places."""

import asyncio
import gzip
from dataclasses import replace

import pytest

from agentcache.jobs.database import DatabaseThreads
from agentcache.kit.clock import ManualClock, SystemClock
from agentcache.kit.egress.guarded import GuardedClient, GuardedLimits
from agentcache.listeners.checking import Checker, user_agent
from agentcache.listeners.findings import Changed, Failed, FirstReading, Unchanged
from agentcache.listeners.models import Listener
from agentcache.listeners.reading.reader import Reader
from agentcache.listeners.services import turns
from agentcache.listeners.watching import Watch
from tests.support.raw_server import Visit, always, once, once_then_wait, plain, serving
from tests.support.reliability import record
from tests.support.teams import make_team
from tests.support.watched_site import page
from tests.unit.listeners.conftest import LOOPBACK

NO_ROBOTS = plain(b"", status=b"404 Not Found")
LIMITS = GuardedLimits(connect_seconds=30, total_seconds=30, body_bytes_max=100_000, may_be_gzip=True)
#: For sources that would go on for ever.
IMPATIENT = replace(LIMITS, total_seconds=0.5)


@pytest.fixture
async def check():
    async with Reader() as reader:
        told = {"text": ""}

        async def former_text(_row):
            return told["text"]

        async def keep_delay(host, seconds):
            told[host] = seconds

        def check(url, allow=LOOPBACK, *, limits=LIMITS, former="", **known):
            told["text"] = former
            row = Listener(url=url, host="127.0.0.1", check_interval_seconds=900, **known)
            client = GuardedClient(allow, limits)
            return Checker(
                client,
                reader,
                SystemClock(),
                "https://x.example",
                former_text,
                keep_delay,
                keep_delay,
                part_pause_seconds=0.0,
            ).check(row)

        yield check


def answering(data):
    """Answer robots.txt with 404 and everything else with these bytes."""

    async def answer(visit: Visit) -> None:
        while request := await visit.request():
            await visit.send(NO_ROBOTS if b"/robots.txt" in request else data)

    return answer


async def test_internal_sources_get_no_connection_and_one_and_the_same_answer(check):
    async with serving(always(plain(b"internal"))) as canary:
        told = set()
        for url in (
            f"https://127.0.0.1:{canary.port}/",
            f"http://localhost:{canary.port}/",
            f"http://[::1]:{canary.port}/",
            "https://169.254.169.254/latest/meta-data",
            "https://nowhere.invalid/",
            "https://127.0.0.1/",
        ):
            finding = await check(url, allow=None)
            assert isinstance(finding, Failed)
            told.add((finding.reason, finding.status))
        await asyncio.sleep(0.02)
        assert canary.visits == []
    assert told == {("The source, or its robots.txt, could not be reached.", None)}
    record("S7", connects=0, different_answers=len(told) - 1)


async def test_a_row_that_was_edited_reaches_nothing(sqlite_project, stores_on_sqlite):
    """S10: judged when connecting, not only when saving."""
    threads, clock = DatabaseThreads(answer_within_seconds=60), ManualClock()
    team = await threads.run(make_team)
    async with serving(always(plain(b"internal"))) as canary, Reader() as reader:
        watch = Watch(
            threads, stores_on_sqlite.entries, GuardedClient(None, LIMITS), reader, clock, "https://x.example"
        )
        row = Listener(
            team=team, url=f"http://127.0.0.1:{canary.port}/", host="127.0.0.1", fingerprint="x",
            check_interval_seconds=900, next_check_at=watch._now(),
        )  # fmt: skip
        await threads.run(row.save)
        assert await watch.start_due() == 1
        await watch.settle()
        await threads.run(row.refresh_from_db)
        await asyncio.sleep(0.02)
        assert canary.visits == []
    assert row.failures_in_row == 1
    await threads.run(lambda: turns.release([row]))
    threads.close()
    record("S10", connects=0)


@pytest.fixture
async def stores_on_sqlite(sqlite_project):
    from agentcache.engine.stores.open_stores import open_stores

    stores = open_stores(sqlite_project, ManualClock())
    yield stores
    await stores.close()


async def drip(visit: Visit) -> None:
    while request := await visit.request():
        if b"/robots.txt" in request:
            await visit.send(NO_ROBOTS)
            continue
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            await visit.send(b"x")
            await asyncio.sleep(0.02)


async def endless_robots(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        await visit.send(b"User-agent: *\n" * 10_000)


HOSTILE = {
    "one byte too many": answering(plain(b"x" * 100_001)),
    "gzip bomb": answering(plain(gzip.compress(b"0" * 10_000_000), b"Content-Encoding: gzip")),
    "a byte at a time": drip,
    "no head": once_then_wait(b""),
    "endless head": answering(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000),
    "not HTTP": once(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "wrong type": answering(plain(b"\x89PNG\0\0", b"Content-Type: image/png")),
    "nothing": answering(plain(b"", b"Content-Type: text/html")),
    "endless robots.txt": endless_robots,
    "redirects in a ring": answering(plain(b"", b"Location: /again", status=b"302 Found")),
    "redirect to nowhere": answering(plain(b"", b"Location: gopher://x/", status=b"302 Found")),
    "redirect inside": answering(plain(b"", b"Location: http://10.0.0.1/", status=b"302 Found")),
    "404": answering(plain(b"x", status=b"404 Not Found")),
}


async def test_hostile_sources_are_one_failure_each(check):
    for name, answer in HOSTILE.items():
        async with serving(answer) as server:
            finding = await check(f"{server.url}/", limits=IMPATIENT)
            assert isinstance(finding, Failed), (name, finding)
            # What the answer was like may be told; what our network is like may not.
            assert "10.0.0.1" not in finding.reason
            await server.until_all_gone()
    record("S9 answers", kinds=len(HOSTILE), taken=0)


async def test_a_listener_follows_three_redirects_and_knows_where_it_ended(check):
    async def hops(visit: Visit) -> None:
        while request := await visit.request():
            path = request.split(b" ", 2)[1]
            moved = {b"/": b"/1", b"/1": b"/2", b"/2": b"/3", b"/4": b"/"}.get(path)
            if path == b"/robots.txt":
                await visit.send(NO_ROBOTS)
            elif moved:
                await visit.send(plain(b"", b"Location: " + moved, status=b"301 Moved Permanently"))
            else:
                await visit.send(plain(page().encode(), b"Content-Type: text/html"))

    async with serving(hops) as server:
        finding = await check(f"{server.url}/")
        assert isinstance(finding, FirstReading)
        assert finding.fetched.url == f"{server.url}/3"
        assert isinstance(await check(f"{server.url}/4"), Failed)


async def test_what_came_before_decides_what_it_means(check):
    body = page().encode()
    async with serving(answering(plain(body, b'ETag: "1"', b"Content-Type: text/html"))) as server:
        first = await check(f"{server.url}/")
        assert isinstance(first, FirstReading)
        known = {"text_digest": first.reading.digest, "body_digest": first.fetched.body_digest, "etag": '"1"'}
        assert isinstance(await check(f"{server.url}/", **known), Unchanged)
        assert isinstance(await check(f"{server.url}/", **{**known, "body_digest": b"x"}), Unchanged)
        assert isinstance(await check(f"{server.url}/", **{**known, "body_digest": b"x", "text_digest": b"x"}), Changed)


async def known_of(check, url):
    """Return what a first reading has a listener know."""
    first = await check(url)
    assert isinstance(first, FirstReading)
    fetched = first.fetched
    return {
        "text_digest": first.reading.digest, "body_digest": fetched.body_digest, "etag": fetched.etag,
        "last_modified": fetched.last_modified,
    }  # fmt: skip


_DATE = b"Date: Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "is_kept"),
    [
        ((b"Last-Modified: Wed, 21 Oct 2015 07:27:59 GMT", _DATE), True),
        ((b"Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT", _DATE), False),
        ((b"Last-Modified: Wed, 21 Oct 2015 09:00:00 GMT", _DATE), False),
        ((b"Last-Modified: yesterday", _DATE), False),
        ((b"Last-Modified: Wed, 99 Oct 2015 07:28:00 GMT", _DATE), False),
        ((b"Last-Modified: Wed, 21 Oct 2015 07:27:00 GMT", b"Date: nonsense"), True),
        ((b"Last-Modified: Wed, 21 Oct 2099 07:27:00 GMT",), False),
    ],
)
async def test_c20_a_date_that_cannot_tell_the_next_change_is_no_condition(check, headers, is_kept):
    asked = []

    async def answer(visit: Visit) -> None:
        while request := await visit.request():
            asked.append(request.lower())
            plain_page = plain(page().encode(), b"Content-Type: text/html", *headers)
            await visit.send(NO_ROBOTS if b"/robots.txt" in request else plain_page)

    async with serving(answer) as server:
        known = await known_of(check, f"{server.url}/")
        await check(f"{server.url}/", **known)
    assert (b"if-modified-since: " in asked[-1]) is is_kept
    record("C20 bad dates", wrong=0)


async def test_c20_a_304_is_believed_for_what_was_asked_for(check):
    """Not where nothing was asked conditionally, nor from another place than the validator came from."""
    moved = {b"/": b"/one"}
    asked = []

    async def answer(visit: Visit) -> None:
        while request := await visit.request():
            path = request.split(b" ", 2)[1]
            asked.append((path, b"if-none-match" in request.lower()))
            if path == b"/robots.txt":
                await visit.send(NO_ROBOTS)
            elif path in moved:
                await visit.send(plain(b"", b"Location: " + moved[path], status=b"302 Found"))
            elif path == b"/rude" or b"if-none-match" in request.lower():
                await visit.send(b'HTTP/1.1 304 Not Modified\r\netag: "1"\r\n\r\n')
            else:
                text = page(f"This is {path.decode()}.").encode()
                await visit.send(plain(text, b'ETag: "1"', b"Content-Type: text/html"))

    async with serving(answer) as server:
        # Where it leads is asked for whole: tomorrow it may lead to another document with the same validator.
        known = await known_of(check, f"{server.url}/")
        moved[b"/"] = b"/two"
        assert isinstance(await check(f"{server.url}/", **known), Changed)
        # A document that was in its own place, and leads elsewhere now.
        known = await known_of(check, f"{server.url}/three")
        assert known["etag"] == '"1"'
        assert isinstance(await check(f"{server.url}/three", **known), Unchanged)
        moved[b"/three"] = b"/one"
        assert isinstance(await check(f"{server.url}/three", **known), Changed)
        assert asked[-1] == (b"/one", False)
        rude = await check(f"{server.url}/rude", **{**known, "etag": ""})
        assert isinstance(rude, Failed) and rude.status == 304
    record("C20 304", wrong=0)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (b"429 Too Many", (b"Retry-After: 120",), 120),
        (b"503 Busy", (b"Retry-After: nonsense",), None),
        (b"503 Busy", (), None),
        (b"503 Busy", (b"Retry-After: Wed, 21 Oct 2015 07:28:00 GMT",), 0),
    ],
)
async def test_retry_after_is_heard(check, status, headers, seconds):
    async with serving(answering(plain(b"", *headers, status=status))) as server:
        finding = await check(f"{server.url}/")
        assert isinstance(finding, Failed)
        assert finding.retry_after_seconds == seconds


@pytest.mark.parametrize(
    ("robots", "is_read"),
    [
        (plain(b"User-agent: *\nDisallow: /\n"), False),
        (plain(b"User-agent: *\nDisallow: /\nUser-agent: AgentCache-Listener\nAllow: /\n"), True),
        (plain(b"", status=b"403 Forbidden"), True),
        (plain(b"", status=b"500 Oops"), False),
        (plain(b"", status=b"429 Too Many"), False),
        (plain(b"\xff\xfe\0 nonsense <html>"), True),
    ],
    ids=["forbidden", "allowed by name", "403", "500", "429", "nonsense"],
)
async def test_robots_txt_decides(check, robots, is_read):
    async def answer(visit: Visit) -> None:
        while request := await visit.request():
            await visit.send(
                robots if b"/robots.txt" in request else plain(page().encode(), b"Content-Type: text/html")
            )

    async with serving(answer) as server:
        assert isinstance(await check(f"{server.url}/"), FirstReading if is_read else Failed)
        assert len(server.requests) == (2 if is_read else 1)


def test_the_user_agent_names_us_and_leads_to_an_explanation():
    assert user_agent("https://cache.example.com").endswith("(+https://cache.example.com/docs/how-to/watch-a-source)")


# Documents that come packed, and sitemaps that come in parts


async def test_a_packed_document_is_read_and_a_bomb_is_not(check, site):
    for path, headers in (("/a", (b"content-encoding: gzip",)), ("/b", ())):
        url = site.put(path, gzip.compress(page().encode()), "text/html", headers=headers)
        assert "price is $10" in (await check(url)).reading.text
    for packed, reason in (
        (gzip.compress(b"x" * 6_000_000), "larger than 5 MiB"),
        (gzip.compress(b"x" * 99)[:-9], "cut"),
    ):
        finding = await check(site.put("/c", packed, "text/plain"))
        assert isinstance(finding, Failed)
        assert reason in finding.reason


XML = "application/xml"
INDEX = '<sitemapindex xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</sitemapindex>'
URLSET = '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{}</urlset>'


def put_index(site, **parts):
    """Serve an index, and its parts: name -> addresses with their times of change."""
    for name, urls in parts.items():
        listed = "".join(f"<url><loc>https://x/{u}</loc><lastmod>{at}</lastmod></url>" for u, at in urls.items())
        site.put(f"/{name}.xml.gz", gzip.compress(URLSET.format(listed).encode()), "application/gzip")
    listed = "".join(f"<sitemap><loc>{site.url}/{name}.xml.gz</loc></sitemap>" for name in parts)
    return site.put("/sitemap.xml", INDEX.format(listed), XML)


def known_from(finding):
    return {
        "etag": finding.fetched.etag, "body_digest": finding.fetched.body_digest,
        "text_digest": finding.reading.digest,
    }  # fmt: skip


async def test_a_change_in_a_part_of_an_index_is_a_change_of_its_item(check, site):
    url = put_index(site, one={"a": 1, "b": 1}, two={"c": 1})
    first = await check(url)
    assert isinstance(first, FirstReading)
    assert "https://x/c\t1" in first.reading.text
    known = known_from(first)
    assert isinstance(await check(url, **known), Unchanged)
    put_index(site, one={"a": 1, "b": 2}, two={"c": 1})
    changed = await check(url, former=first.reading.text, **known)
    assert isinstance(changed, Changed)
    assert changed.difference.items == ["https://x/b"]


async def test_an_index_whose_parts_cannot_all_be_read_is_no_change(check, site):
    url = put_index(site, one={"a": 1}, two={"c": 1})
    for wrong, reason in (
        (lambda: site.pages.pop("/two.xml.gz"), "answered 404"),
        (lambda: site.put("/two.xml.gz", "<html>sorry", "text/html"), "cannot be read"),
        (
            lambda: site.put("/sitemap.xml", INDEX.format("<sitemap><loc>https://y/</loc></sitemap>"), XML),
            "another host",
        ),
    ):
        wrong()
        finding = await check(url)
        assert isinstance(finding, Failed)
        assert reason in finding.reason
    many = "".join(f"<sitemap><loc>https://y/{number}</loc></sitemap>" for number in range(21))
    assert isinstance(await check(site.put("/many.xml", INDEX.format(many), XML)), FirstReading)
