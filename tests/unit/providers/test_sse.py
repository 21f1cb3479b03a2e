from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentcache.providers.dialect import SSEEvent
from agentcache.providers.sse import SSEEventTooLarge, SSEParser, data_event, named_event, parse_events, with_payload

#: (bytes of one event, its name, its data)
SINGLE = [
    (b"data: x\n\n", "", b"x"),
    (b"data:x\n\n", "", b"x"),
    (b"data:  x\n\n", "", b" x"),
    (b"data: x\r\n\r\n", "", b"x"),
    (b"data: x\r\r", "", b"x"),
    (b"data: x\n\r\n", "", b"x"),
    (b"event: ping\ndata: {}\n\n", "ping", b"{}"),
    (b"data: a\ndata: b\n\n", "", b"a\nb"),
    (b"data: a\rdata:\rdata: b\r\r", "", b"a\n\nb"),
    (b": comment\n\n", "", b""),
    (b": c\nid: 4\nretry: 1\nevent: e\ndata: d\n\n", "e", b"d"),
    (b"data\n\n", "", b""),
    (b"database: x\n\n", "", b""),
    (b"\n\n", "", b""),
    ("data: é👩\u2028\x85\n\n".encode(), "", "é👩\u2028\x85".encode()),
    (b"data: \xff\xfe\n\n", "", b"\xff\xfe"),
    (b"event: \xff\ndata: 1\n\n", "\ufffd", b"1"),
    (b"\xef\xbb\xbfdata: bom\n\n", "", b"bom"),
    (b"data: a: b\n\n", "", b"a: b"),
]


@pytest.mark.parametrize(("raw", "name", "data"), SINGLE)
def test_reads_an_event_however_it_is_cut(raw: bytes, name: str, data: bytes) -> None:
    assert SSEParser().feed(raw) == [SSEEvent(raw, name, data)]
    for cut in range(len(raw) + 1):
        parser = SSEParser()
        events = parser.feed(raw[:cut]) + parser.feed(raw[cut:])
        assert [(e.event, e.data) for e in events if e.data or e.event] == ([(name, data)] if name or data else [])
        assert b"".join(e.raw for e in events) + parser.tail() == raw


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_cut_gives_the_same_events_and_every_byte(data: st.DataObject) -> None:
    eol = data.draw(st.sampled_from([b"\n", b"\r\n", b"\r"]))
    line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)
    texts = data.draw(st.lists(line.filter(bool), max_size=6))
    body = b"".join(b"event: e" + eol + b"data: " + text.encode() + eol + eol for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=10)))
    parser = SSEParser()
    events: list[SSEEvent] = []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        events += parser.feed(body[start:end])
    assert [(e.event, e.data.decode()) for e in events if e.event] == [("e", text) for text in texts]
    assert b"".join(e.raw for e in events) + parser.tail() == body
    assert parser.tail() == b""


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"data: x", b"x", b":"]), max_size=14), st.integers(0, 9))
def test_no_byte_is_lost_in_any_mess(parts: list[bytes], cut: int) -> None:
    body = b"".join(parts)
    parser = SSEParser()
    events = parser.feed(body[:cut]) + parser.feed(body[cut:])
    assert b"".join(e.raw for e in events) + parser.tail() == body


def test_tail_tells_of_an_unfinished_event() -> None:
    parser = SSEParser()
    assert len(parser.feed(b"data: 1\n\ndata: [DO")) == 1
    assert parser.tail() == b"data: [DO"
    assert len(parser.feed(b"NE]\n\n")) == 1
    assert parser.tail() == b""


def test_a_last_crlf_may_come_in_halves() -> None:
    parser = SSEParser()
    assert parser.feed(b"data: 1\r\n\r") == []
    assert [e.raw for e in parser.feed(b"\ndata: 2\r\n\r\n")] == [b"data: 1\r\n\r\n", b"data: 2\r\n\r\n"]


@pytest.mark.parametrize("chunks", [[b"data: " + b"x" * 100 + b"\n\n"], [b"data: "] + [b"x" * 10] * 10])
def test_an_event_has_a_size_bound(chunks: list[bytes]) -> None:
    parser = SSEParser(event_bytes_max=64)
    with pytest.raises(SSEEventTooLarge) as caught:
        for chunk in chunks:
            parser.feed(chunk)
    assert caught.value.code == "upstream_event_too_large"
    assert caught.value.status == 502


def test_many_events_may_exceed_the_bound_of_one() -> None:
    assert len(SSEParser(event_bytes_max=16).feed(b"data: 1\n\n" * 50)) == 50


def test_a_large_event_in_many_small_chunks() -> None:
    parser = SSEParser()
    raw = b"data: " + b"y" * 2_000_000 + b"\n\n"
    events = [event for i in range(0, len(raw), 1000) for event in parser.feed(raw[i : i + 1000])]
    assert [event.raw for event in events] == [raw]


def test_builders_are_read_back() -> None:
    assert parse_events(data_event({"a": "\n"}) + named_event("x", [1])) == [
        SSEEvent(b'data: {"a":"\\n"}\n\n', "", b'{"a":"\\n"}'),
        SSEEvent(b"event: x\ndata: [1]\n\n", "x", b"[1]"),
    ]


def test_other_lines_of_an_event_are_kept_with_a_new_payload() -> None:
    (event,) = parse_events(b"id: 7\r\nevent: e\r\ndata: 1\r\ndata: 2\r\n\r\n")
    assert with_payload(event, {"b": 2}) == b'id: 7\nevent: e\ndata: {"b":2}\n\n'
