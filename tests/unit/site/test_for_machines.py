"""What search engines see: pages that are worth finding say so, all others keep out."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from agentcache.site import manual
from tests.support.accounts import Person
from tests.support.django_project import use_settings
from tests.support.sessions import browser_of, stranger

FOUND = (
    "/",
    "/pricing",
    "/status",
    "/security",
    "/changelog",
    "/docs",
    "/docs/how-to/limits",
    "/docs/examples/streaming.py",
)


@pytest.mark.parametrize("address", FOUND)
def test_public_pages_can_be_found_and_ask_for_nothing_foreign(sqlite_project, address):
    answer = stranger().get(address)
    html = answer.content.decode()
    assert "noindex" not in html
    described = re.search(r'<meta name="description" content="([^"]+)">', html)
    assert described
    assert 25 < len(described[1]) < 330
    assert f'<link rel="canonical" href="http://127.0.0.1:8787{address}">' in html
    assert len(re.findall(r"<h1[ >]", html)) == 1
    assert "<script>" not in html
    assert " style=" not in html
    loaded = re.findall(r'<(?:script|img|link rel="(?:stylesheet|icon)"[^>]*?)[^>]*?(?:src|href)="([^"]+)"', html)
    assert loaded and all(source.startswith("/static/") for source in loaded)
    assert "default-src 'none'" in answer["Content-Security-Policy"]


def test_titles_and_descriptions_tell_pages_apart(sqlite_project):
    pages = [stranger().get(address).content.decode() for address in (*FOUND[:6], *manual.pages())]
    titles = {re.search(r"<title>(.+?)</title>", page)[1] for page in pages}
    assert len(titles) == len({*FOUND[:6], *manual.pages()})


@pytest.mark.parametrize("address", ["/login", "/signup", "/forgot", "/dev/mail", "/nothing"])
def test_pages_of_no_use_to_searchers_keep_out(sqlite_project, address):
    assert '<meta name="robots" content="noindex">' in stranger().get(address).content.decode()


def test_the_dashboard_keeps_out(sqlite_project):
    page = browser_of(Person().join().user).get("/settings/profile").content.decode()
    assert '<meta name="robots" content="noindex">' in page


def test_the_list_of_pages_is_whole(sqlite_project):
    with use_settings(replace(sqlite_project, public_url="https://cache.example.com")):
        robots = stranger().get("/robots.txt", headers={"host": "cache.example.com"})
        listed = stranger().get("/sitemap.xml", headers={"host": "cache.example.com"})
    assert "Sitemap: https://cache.example.com/sitemap.xml" in robots.content.decode()
    assert "Disallow: /dashboard" in robots.content.decode()
    assert listed["Content-Type"] == "application/xml; charset=utf-8"
    urls = [element.text for element in ET.fromstring(listed.content).iter() if element.tag.endswith("loc")]
    assert len(urls) == len(set(urls))
    assert set(urls) == {f"https://cache.example.com{address}" for address in (*FOUND[:6], *manual.pages())}
    forbidden = re.findall(r"Disallow: (\S+)", robots.content.decode())
    assert not [url for url in urls if url.removeprefix("https://cache.example.com").startswith(tuple(forbidden))]
