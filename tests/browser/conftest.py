"""Browsers and sites for the journeys. All of it is synchronous; a browser and its servers last for this folder's tests of a
process: idle ones would take their share of the processor from all that comes after."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.browser import looks
from tests.support.browser.chromium import Turns, launch
from tests.support.browser.site import PATIENCE_SECONDS, Site
from tests.support.browser.visitor import Visitor
from tests.support.postgres_server import create_database


@pytest.fixture(scope="package")
def _turns() -> Turns:
    return Turns()


@pytest.fixture(scope="package")
def _browser(_turns: Turns) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_SECONDS * 1000)
    with _turns.taken():
        playwright = sync_playwright().start()
        browser = launch(playwright)
    yield browser
    with _turns.taken():
        browser.close()
        playwright.stop()


@pytest.fixture
def browser(_turns: Turns, _browser: Browser) -> Iterator[Browser]:
    """Chromium, for this test's turn."""
    with _turns.taken():
        yield _browser


@pytest.fixture(scope="package")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server as `agentcache serve` starts it."""
    with Site(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="package")
def postgresql_site(tmp_path_factory: pytest.TempPathFactory, postgres_url: str) -> Iterator[Site]:
    """A server whose records are in PostgreSQL."""
    # Of its own: the job worker of another server on the same records would send this one's mails.
    with Site(tmp_path_factory.mktemp("site"), AGENTCACHE_DATABASE_URL=create_database(postgres_url)) as site:
        yield site


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Site:
    """A server on SQLite; on other databases where a test asks for it with `tests.support.browser.site.on_databases`.

    What pages read and write is tried on both databases without a browser.
    """
    database = getattr(request, "param", "sqlite")
    site: Site = request.getfixturevalue(f"{database}_site")
    return site


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Return `visit(site, name="ada", **options)`: a new person. Whatever goes wrong in their window fails the test."""
    visitors: list[Visitor] = []

    def visit(site: Site, name: str = "ada", **options: object) -> Visitor:
        visitors.append(Visitor.of(browser, site, name, **options))
        return visitors[-1]

    yield visit
    troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
    for visitor in visitors:
        visitor.close()
    assert not troubles, "\n".join(troubles)


@pytest.fixture
def fits() -> Callable[[Page, str], None]:
    """Return `fits(page, name)`: nothing is wider than the window."""
    return looks.fits


@pytest.fixture
def inspect() -> Callable[[Page, str], None]:
    """Return `inspect(page, name)`: nothing is wider than the window, and nothing serious from axe-core."""
    return looks.inspect
