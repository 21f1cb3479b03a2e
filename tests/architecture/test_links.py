"""What the documentation points to exists: files, headings, routes, metrics, decisions; and its Python compiles."""

import re
from urllib.parse import urlsplit

import pytest

from agentcache.gateway.native.api import find_route
from agentcache.kit.errors import NotFound
from agentcache.providers.registry import build_dialects
from tests.architecture.repository import PACKAGE, ROOT, text_of, tracked_files

#: Paths outside providers' routes and the native API.
_OTHER_PATHS = frozenset({"/", "/healthz", "/readyz", "/metrics", "/api/docs"})
_FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CURL_URL = re.compile(r"https?://(?:127\.0\.0\.1|localhost):8787[^\s\"'|)]*")
_RECORD = re.compile(r"\d{4}-[a-z0-9-]+\.md")
#: A file that a page names in passing, as `engine/keys.py`; `*` stands for several.
_FILE = re.compile(r"`((?:[\w.-]+/)+[\w*.-]+\.(?:py|json|txt|toml))`")
DECISIONS = ROOT / "docs" / "decisions"


def pages():
    return [path for path in tracked_files() if path.suffix == ".md"]


def named(paths):
    return pytest.mark.parametrize("page", paths, ids=lambda path: str(path.relative_to(ROOT)))


def without_code(text):
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


def anchors(path):
    """The names that headings get: lower case, words joined by hyphens, everything else gone."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", text_of(path)), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def blocks(path, *languages):
    return [code for language, code in _FENCE.findall(text_of(path)) if language in languages]


def is_ours(path):
    """Whether the server has a route for a path."""
    if path in _OTHER_PATHS:
        return True
    if path.startswith(("/v1/", "/api/v1/")) or path.split("/")[1] in build_dialects({}):
        return True
    try:
        find_route("GET", path)
    except NotFound:
        return False
    return True


@named(pages())
def test_relative_links_lead_somewhere(page):
    dead = []
    for target in _LINK.findall(without_code(text_of(page))):
        url = urlsplit(target)
        if url.scheme or url.netloc:
            continue
        found = (page.parent / url.path).resolve() if url.path else page
        if not found.exists() or (url.fragment and found.suffix == ".md" and url.fragment not in anchors(found)):
            dead.append(target)
    assert not dead


@named([page for page in pages() if _FILE.search(text_of(page))])
def test_files_that_pages_name_exist(page):
    def exists(name):
        return any(next(iter(folder.glob(name)), None) for folder in (ROOT, PACKAGE))

    assert [name for name in _FILE.findall(text_of(page)) if not exists(name)] == []


@named([page for page in pages() if blocks(page, "python", "py")])
def test_python_in_pages_compiles(page):
    for code in blocks(page, "python", "py"):
        compile(code, str(page), "exec")


@named([page for page in pages() if _CURL_URL.search(text_of(page))])
def test_addresses_of_examples_are_routes_of_ours(page):
    strange = set()
    for code in _FENCE.findall(text_of(page)):
        for address in _CURL_URL.findall(code[1]):
            path = urlsplit(address).path or "/"
            if not is_ours(path):
                strange.add(address)
    assert not strange


def test_what_is_no_route_of_ours_is_noticed():
    assert is_ours("/openai/v1/chat/completions")
    assert is_ours("/api/cache/entries/" + "0" * 64)
    assert not is_ours("/api/cache/no-such-call")
    assert not is_ours("/opneai/v1/chat/completions")


def test_every_page_below_docs_is_reachable_from_its_index():
    index = ROOT / "docs" / "README.md"
    reached, waiting = set(), [index]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        links = _LINK.findall(without_code(text_of(page)))
        waiting += [(page.parent / urlsplit(link).path).resolve() for link in links if not urlsplit(link).scheme]
    lonely = [page for page in pages() if (ROOT / "docs") in page.parents and page not in reached]
    assert not lonely


def test_decisions_are_numbered_listed_and_complete():
    records = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    assert [path.name for path in records if not _RECORD.fullmatch(path.name)] == []
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    listing = text_of(DECISIONS / "README.md")
    for path in records:
        text = text_of(path)
        assert f"]({path.name})" in listing, path.name
        assert [
            part for part in ("Context", "Decision", "Consequences", "Alternatives") if f"\n## {part}\n" not in text
        ] == []


def test_the_page_on_metrics_names_every_metric_and_no_other():
    from agentcache.gateway.metrics import Metrics

    metrics = Metrics()
    metrics.count_call("openai", "exact", 100, 100)
    exposed = set(re.findall(r"^# HELP (\w+) ", metrics.exposition().decode(), re.MULTILINE))
    page = text_of(ROOT / "docs" / "how-to" / "metrics-and-logs.md")
    assert set(re.findall(r"`(agentcache_\w+)`", page)) == exposed
