"""What counts as a change of a page, and what does not."""

import pytest

from agentcache.listeners.reading.documents import kind_of, read
from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.messages import ReadDocument
from agentcache.listeners.reading.texts import TEXT_CHARS_MAX, comparable
from tests.support.watched_site import page


def reading(body, content_type="text/html; charset=utf-8", selector=""):
    body = body.encode() if isinstance(body, str) else body
    return read(ReadDocument("https://example.com/x", content_type, body, selector))


def said(body, content_type="text/html; charset=utf-8", selector=""):
    return reading(body, content_type, selector).text


BASE = page()


@pytest.mark.parametrize(
    "other",
    [
        page(furniture="7"),
        BASE.replace("</head>", "<style>p{}</style><script>x()</script><link rel=x></head>"),
        BASE.replace("<p>There", "<ins class=adsbygoogle>New shoes!</ins><iframe src=x></iframe><p>There"),
        BASE.replace("<p>There", "<div class='sponsored'><p>New shoes for everybody!</p></div><p>There"),
        BASE.replace("<p>There", "<div id='cookie-consent'>We value your privacy</div><p>There"),
        BASE.replace("<p>There", "<!-- build 77 --><p class='b77' data-x=77>There"),
        BASE.replace("<p>There", "<time>3 minutes ago</time><p>There"),
        BASE.replace("<p>There", "\n\n   <p>\t There"),
        BASE.replace("is nothing", "is  nothing"),
        BASE.replace("</body>", "<noscript>Enable scripts</noscript></body>"),
        BASE.replace('<a href="/about">About</a>', '<a href="/new">A new section</a>'),
    ],
    ids=[
        "times and counters", "code", "frames", "sponsored", "consent", "markup", "time element", "blanks", "blanks within",
        "noscript", "menu",
    ],
)  # fmt: skip
def test_furniture_is_no_change(other):
    assert other != BASE
    assert said(other) == said(BASE)


@pytest.mark.parametrize(
    "other",
    [
        page("The price is $10.5."),
        page("The price is €10."),
        page("The price was $10."),
        BASE.replace("<h1>Prices", "<h1>New prices"),
        BASE.replace("</article>", "<table><tr><td>Pro</td><td>$99</td></tr></table></article>"),
        BASE.replace("</article>", "<ul><li>No refunds</li></ul></article>"),
        BASE.replace("<p>There is nothing else", "<p>There is something else"),
        BASE.replace("</article>", "<p>✓</p></article>"),
        BASE.replace("</article>", "<p>The offer ends on 2026-12-24.</p></article>"),
        BASE.replace("<p>There is nothing", "<p>Not here: there is nothing"),
    ],
    ids=["a digit", "a sign", "a word", "heading", "table", "list", "sentence", "tick", "date", "negation"],
)
def test_content_is_a_change(other):
    assert other != BASE
    assert said(other) != said(BASE)


def test_a_short_page_is_read_whole():
    up, down = (f"<html><body><div>API</div><span>{word}</span></body></html>" for word in ("up", "down"))
    assert said(up) != said(down)
    assert "up" in said(up)


def test_prices_outside_of_the_main_text_are_seen():
    rows = "".join(f"<div class=plan><b>Plan {n}</b><span>${n}9</span></div>" for n in range(30))
    text = said(f"<html><body><article><p>We have many plans.</p></article><section>{rows}</section></body></html>")
    assert "$299" in text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Updated 5 minutes ago by Ann", "Updated by Ann"),
        ("Last updated: 2026-11-27 10:03:11 UTC", ""),
        ("Page generated in 0.03 s", "Page"),
        ("1,203 views and 3 comments", "and"),
        ("© 2026 Acme", "Acme"),
        ("Meet at 2026-12-24", "Meet at 2026-12-24"),
        ("Ratio 3:1, version 1:20", "Ratio 3:1, version 1:20"),
        ("Open 9:00-17:00", "Open 9:00-17:00"),
        ("on Nov 27, 2026 at 10:03 PM", "on"),
    ],
)
def test_times_of_looking_do_not_count_but_dates_and_hours_do(text, left):
    assert " ".join(comparable(text).split()) == left


def test_a_part_is_chosen_by_a_css_selector():
    assert said(BASE, selector="h1") == "Prices"
    assert said("<ul><li>a<li>b</ul>", selector="li") == "a\nb"
    with pytest.raises(NotReadable, match="matches nothing"):
        said(BASE, selector="#nowhere")
    with pytest.raises(NotReadable, match="CSS selector"):
        said(BASE, selector="p[")
    with pytest.raises(NotReadable, match="for pages"):
        said("{}", "application/json", "h1")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<p>Grüße</p>".encode("latin-1"), "text/html; charset=iso-8859-1"),
        ("<p>Grüße</p>".encode(), "text/html"),
        ("<p>Grüße</p>".encode("utf-8-sig"), "text/html; charset=nonsense"),
        ("<html><p>Grüße</p>".encode(), ""),
    ],
)
def test_letters_are_read_as_they_were_written(body, content_type):
    assert said(body, content_type) == "Grüße"


def test_json_is_compared_by_content():
    document = '{"b": [1, 2.10], "a": "x"}'
    assert said(document, "application/json") == said('{ "a":"x","b":[1,\n2.10] }', "application/vnd.x+json")
    assert said(document, "application/json") != said('{"b": [1, 2.1], "a": "x"}', "application/json")
    assert said(document, "application/json", "$.b[0]") == "1"
    for wrong in ("{", "[1,]", '{"a": NaN}', "[" * 100_000):
        with pytest.raises(NotReadable):
            said(wrong, "application/json")
    with pytest.raises(NotReadable, match="finds nothing"):
        said(document, "application/json", "$.nowhere")


def test_text_is_compared_as_it_is():
    assert said("a \r\nb\n\n", "text/plain") == "a\nb"
    assert said("a  b at 10:00:00", "text/plain") == "a  b at 10:00:00"


@pytest.mark.parametrize("body", [b"\x89PNG\r\n\x1a\n\0\0", b"\0\1\2", b"PK\3\4xx"])
def test_bytes_that_are_no_text_are_refused(body):
    with pytest.raises(NotReadable, match="cannot be compared"):
        reading(body, "application/octet-stream")


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("text/html", b"<p>", "html"),
        ("", b"<!DOCTYPE html><p>", "html"),
        ("application/octet-stream", b"%PDF-1.7", "pdf"),
        ("text/plain", b"{}", "text"),
        ("", b'{"a": 1}', "json"),
        ("application/xml", b"<note/>", "text"),
        ("text/xml", b"<?xml version='1.0'?><rss>", "feed"),
        ("application/atom+xml", b"<feed xmlns='http://www.w3.org/2005/Atom'>", "feed"),
        ("application/xml", b"<?xml version='1.0'?><sitemapindex>", "sitemap"),
        ("application/yaml", b"a: 1", "text"),
    ],
)
def test_kinds(content_type, body, kind):
    assert kind_of(content_type, body) == kind


def test_a_long_text_is_kept_in_part_but_compared_whole():
    long = "word " * TEXT_CHARS_MAX
    first, second = reading(long + "a", "text/plain"), reading(long + "b", "text/plain")
    assert first.text == second.text
    assert len(first.text) == TEXT_CHARS_MAX
    assert first.digest != second.digest


def test_nothing_that_a_database_refuses_is_kept():
    assert "\0" not in said(b"a\0b", "text/plain")
    assert said('{"a": "\\ud800\\u0000"}', "application/json").encode()
