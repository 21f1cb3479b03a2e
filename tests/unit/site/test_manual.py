"""The manual: every page is there, every link on it leads somewhere, and a file cannot do anything to its reader."""

import re
from html import unescape
from urllib.parse import urljoin, urlsplit

import pytest

from agentcache.site import manual
from agentcache.site.markdown import render
from tests.architecture.repository import ROOT, tracked_files
from tests.support.sessions import stranger

_LINK = re.compile(r'<a [^>]*?href="([^"]+)"')
#: Served by the gateway, not by the pages.
GATEWAY = {"/healthz", "/readyz", "/api/openapi.json"}


def html_of(url):
    answer = stranger().get(url)
    assert answer.status_code == 200, url
    return answer.content.decode()


def test_every_file_below_docs_is_a_page(sqlite_project):
    files = {path.relative_to(ROOT).as_posix() for path in tracked_files() if path.suffix == ".md"}
    assert {page.path for page in manual.pages().values() if page.path.startswith("docs/")} == {
        path for path in files if path.startswith("docs/")
    }
    assert len(manual.pages()) == len({page.path for page in manual.pages().values()})


def test_a_walk_over_all_links_of_all_public_pages_finds_none_that_is_dead(sqlite_project):
    browser = stranger()
    waiting, pages = {"/", "/pricing", "/status", "/security", "/changelog", "/docs", *manual.pages()}, {}
    links = set()
    while waiting:
        address = waiting.pop()
        answer = browser.get(address)
        assert answer.status_code == 200, address
        pages[address] = answer.content.decode()
        for href in _LINK.findall(pages[address]):
            parts = urlsplit(urljoin(address, unescape(href)))
            if parts.scheme or parts.netloc or href.startswith("/static/"):
                continue
            links.add((address, parts.path, parts.fragment))
            if parts.path not in pages and parts.path not in GATEWAY:
                waiting.add(parts.path)
    assert len(pages) > len(manual.pages()) + 5
    dead = {
        (address, path, fragment)
        for address, path, fragment in links
        if fragment and path in pages and f'id="{fragment}"' not in pages[path]
    }
    assert dead == set()


def test_pages_lead_to_the_ones_before_and_after(sqlite_project):
    order = list(manual.pages())
    assert order[0] == "/docs"
    seen, address = [order[0]], order[0]
    while found := re.search(r'class="around-after" href="([^"]+)" rel="next"', html_of(address)):
        address = found[1]
        seen.append(address)
    assert seen == order


@pytest.mark.parametrize("name", ["nothing", "../SECURITY", "how-to", "images/paths.svg", "how-to/limits.md", "reference/../glossary",
                                  "%2e%2e/README"])  # fmt: skip
def test_what_is_no_page_is_not_found(sqlite_project, name):
    assert stranger().get(f"/docs/{name}").status_code == 404


def test_links_follow_the_files_and_those_to_nowhere_lose_their_link():
    assert manual.address_of("limits.md#plans", "docs/how-to/teams.md") == "/docs/how-to/limits#plans"
    assert manual.address_of("../README.md#how-to", "docs/how-to/teams.md") == "/docs#how-to"
    assert manual.address_of("../../CHANGELOG.md", "docs/how-to/upgrade.md") == "/changelog"
    assert manual.address_of("docs/how-to/behind-a-proxy.md", "SECURITY.md") == "/docs/how-to/behind-a-proxy"
    assert manual.address_of("#here", "docs/how-to/teams.md") == "#here"
    assert manual.address_of("https://example.com/x.md", "docs/README.md") == "https://example.com/x.md"
    assert manual.address_of("../../tests/conftest.py", "docs/how-to/teams.md") is None
    assert render("See [the test](x.py) *now*.", lambda _: None).html == "<p>See the test <em>now</em>.</p>\n"


def test_a_file_is_text_whatever_it_holds(sqlite_project):
    hostile = "# A <b>\n\n<script>alert(1)</script>\n\n[x](javascript:alert(1)) `<i>`\n\n```sh\n<script>\n```\n\n## <img src=x> `a`\n"
    shown = render(hostile, lambda link: link)
    assert "<script" not in shown.html
    assert "<img" not in shown.html
    assert "javascript:" not in re.sub(r">[^<]*<", "><", shown.html)
    assert shown.title == "A <b>"
    assert [heading.anchor for heading in shown.headings] == ["img-srcx-a"]


def test_tables_keep_their_alignment_without_styles():
    shown = render("| a | b |\n| --- | ---: |\n| x | 1 |\n", lambda link: link).html
    assert '<td class="num" data-label="b">1</td>' in shown
    assert 'data-label="a">x</td>' in shown
    assert '<th scope="col">a</th>' in shown
    assert "style" not in shown


def test_equal_headings_get_addresses_of_their_own():
    shown = render("# T\n\n## Added\n\n## Added\n", lambda link: link)
    assert [heading.anchor for heading in shown.headings] == ["added", "added-1"]
