"""The reading process (S9): whatever a document does, it is over in bounded time and memory, and the next one is read."""

import asyncio
import io
import zlib

import psutil
import pytest
from pypdf import PdfWriter

from agentcache.listeners.reading.messages import (
    CheckSelector,
    CompareTexts,
    Difference,
    JudgeRobots,
    ReadDocument,
    Reading,
    Unreadable,
    Verdict,
)
from agentcache.listeners.reading.reader import Reader
from tests.support.guarded import is_running
from tests.support.reliability import record
from tests.support.watched_site import page

MIB = 1024 * 1024


@pytest.fixture
async def reader():
    async with Reader(answer_within_seconds=1.0) as reader:
        yield reader


def html(body):
    return ReadDocument("https://example.com/", "text/html", body if isinstance(body, bytes) else body.encode())


def pdf(text="Pro is $20", at=b"D:20260101000000Z"):
    writer = PdfWriter()
    blank = writer.add_blank_page(200, 200)
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    font = DictionaryObject({NameObject("/Type"): NameObject("/Font"), NameObject("/Subtype"): NameObject("/Type1"), NameObject("/BaseFont"): NameObject("/Helvetica")})  # fmt: skip
    blank[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F1"): font})})  # fmt: skip
    content = DecodedStreamObject()
    content.set_data(b"BT /F1 12 Tf 10 100 Td (%s) Tj ET" % text.encode())
    blank[NameObject("/Contents")] = content
    writer.add_metadata({"/CreationDate": at.decode(), "/Producer": at.decode()})
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


async def test_every_kind_of_question_is_answered(reader):
    assert isinstance(await reader.ask(html(page())), Reading)
    assert isinstance(await reader.ask(CompareTexts("a", "b")), Difference)
    assert await reader.ask(JudgeRobots("User-agent: *\nDisallow: /x", "https://a.example/x/1", "Me")) == Verdict(False)
    assert await reader.ask(JudgeRobots("User-agent: *\nCrawl-delay: 999", "https://a.example/", "Me")) == Verdict(
        True, 60.0
    )
    assert isinstance(await reader.ask(CheckSelector("$.a[?@.b == 1]")), Reading)
    assert isinstance(await reader.ask(CheckSelector("$.a[")), Unreadable)


async def test_a_pdf_is_compared_by_what_it_says(reader):
    async def read(body):
        answer = await reader.ask(ReadDocument("https://example.com/x.pdf", "application/pdf", body))
        assert isinstance(answer, Reading), answer
        return answer.text

    assert await read(pdf()) == "Pro is $20"
    assert await read(pdf(at=b"D:20270101000000Z")) == await read(pdf())
    assert await read(pdf("Pro is $25")) != await read(pdf())


def zeros(size):
    """Return `size` zero bytes, deflated; they are never in memory together."""
    deflating = zlib.compressobj(1)
    return b"".join(deflating.compress(bytes(MIB)) for _ in range(size // MIB)) + deflating.flush()


def bombs():
    """Return documents that take more than they are worth."""
    return {
        "nested elements": html("<div>" * 300_000),
        "nested JSON": ReadDocument("https://example.com/", "application/json", b"[" * 4_000_000),
        "a JSON path that never ends": ReadDocument(
            "https://example.com/", "application/json", b"[" + b",".join([b'"' + b"a" * 40 + b'"'] * 2000) + b"]",
            "$[?search(@, '(a+)+$b')]",
        ),
        "entities": ReadDocument(
            "https://example.com/", "application/rss+xml",
            b"<?xml version='1.0'?><!DOCTYPE x ["
            + b"".join(b"<!ENTITY e%d '%s'>" % (n, b"&e%d;" % (n - 1) * 10 if n else b"ha" * 50) for n in range(12))
            + b"]><rss version='2.0'><channel><item><title>&e11;</title><link>https://x.example/</link></item></channel></rss>",
        ),
        "a PDF of zeros": ReadDocument(
            "https://example.com/", "application/pdf",
            b"%PDF-1.4\n1 0 obj<</Length 99/Filter/FlateDecode>>stream\n" + zeros(300 * MIB)
            + b"\nendstream endobj",
        ),
        "a PDF of nothing": ReadDocument("https://example.com/", "application/pdf", b"%PDF-1.7\n" + b"1 0 obj<<" * 50_000),
        "no end of blanks": ReadDocument("https://example.com/", "text/html", b"<p>" + b" \t" * 2_500_000 + b"x"),
        "no end of digits": html("<p>" + "1" * 4_000_000 + ":00 ago</p>"),
        "times without end": html("<p>" + "updated 1 " * 400_000 + "</p>"),
    }  # fmt: skip


async def test_bombs_end_in_time_and_the_next_document_is_read(reader):
    loop, slowest, highest = asyncio.get_running_loop(), 0.0, 0
    harmless = await reader.ask(html(page()))
    documents = bombs()
    for name, bomb in documents.items():
        before = loop.time()
        answer = await reader.ask(bomb)
        slowest = max(slowest, loop.time() - before)
        assert isinstance(answer, Reading | Unreadable), name
        if reader._process is not None:
            highest = max(highest, psutil.Process(reader._process.pid).memory_info().rss)
        assert await reader.ask(html(page())) == harmless, name
    # The deadline, and the start of another process.
    assert slowest < 20
    assert highest < 1024 * MIB
    record("S9 documents", bombs=len(documents), unread_after_a_bomb=0, highest_reader_mib=round(highest / MIB))


async def test_a_question_that_is_given_up_spoils_no_other(reader):
    asking = asyncio.create_task(reader.ask(html("<div>" * 300_000)))
    await asyncio.sleep(0.05)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert isinstance(await reader.ask(html(page())), Reading)


async def test_a_process_that_dies_is_replaced(reader):
    await reader.ask(html(page()))
    psutil.Process(reader._process.pid).kill()
    assert isinstance(await reader.ask(html(page())), Reading | Unreadable)
    assert isinstance(await reader.ask(html(page())), Reading)


async def test_nothing_is_left_running():
    async with Reader() as reader:
        await reader.ask(html(page()))
        pid = reader._process.pid
        assert is_running(pid)
    assert not is_running(pid)
