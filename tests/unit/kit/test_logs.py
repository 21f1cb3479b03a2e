"""Logs: one line per record, allowed fields only, nothing that was passed through (T12, F12)."""

import io
import json
import logging
import warnings

import pytest
import structlog

from agentcache.kit.api_keys import new_api_key
from agentcache.kit.clock import ManualClock
from agentcache.kit.errors import BadRequest
from agentcache.kit.logs import OncePer, StateChanges, configure_logging, dropped_fields, get_logger


@pytest.fixture
def out():
    root = logging.getLogger()
    former = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("debug", stream)
    yield stream
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = former


def lines(out):
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_fields_that_were_given(out):
    get_logger("gateway").info("request_done", request_id="req_1", status=200, latency_us=12, dialect="openai")
    (line,) = lines(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "request_done",
        "level": "info",
        "logger": "gateway",
        "request_id": "req_1",
        "status": 200,
        "latency_us": 12,
        "dialect": "openai",
    }


def test_fields_that_are_not_allowed_are_dropped_and_counted(out):
    before = dropped_fields().get("prompt", 0)
    get_logger("gateway").warning("odd", prompt="canary-1", authorization="Bearer canary-2", status=400)
    (line,) = lines(out)
    assert "canary" not in out.getvalue()
    assert (line["dropped"], line["status"]) == (2, 400)
    assert dropped_fields()["prompt"] == before + 1


@pytest.mark.parametrize(
    "text",
    ['a\nb\r\n{"level": "error"}', "a\u2028b\u2029c\x85d", "\x1b[31m\0", "\ud800"],
    ids=["lines", "separators", "controls", "half a pair"],
)
def test_one_record_is_one_line_of_ascii_whatever_it_holds(out, text):
    # The test runner's own handlers go: what they keep of these texts cannot be sent between its processes.
    root = logging.getLogger()
    root.handlers[:] = [handler for handler in root.handlers if not type(handler).__module__.startswith("_pytest")]
    get_logger("x").info(text, reason=text, path=[text])
    logging.getLogger("library").warning("says %s", text)
    written = out.getvalue()
    assert written.count("\n") == 2
    assert written.isascii()
    assert all(character.isprintable() or character == "\n" for character in written)
    assert lines(out)[0]["reason"] == text


def test_values_are_plain_short_and_never_objects(out):
    get_logger("x").info("y", reason={"secret": "canary"}, code=b"canary", path="p" * 9999, count=[1, ["canary"]])
    (line,) = lines(out)
    assert "canary" not in out.getvalue()
    assert (line["reason"], line["code"], len(line["path"]), line["count"]) == (
        "<dict>",
        "<bytes>",
        500,
        [1, "<nested>"],
    )


def test_the_text_of_foreign_exceptions_is_not_written_ours_is(out):
    try:
        try:
            raise ValueError("canary: " + "x" * 10)
        except ValueError:
            get_logger("x").exception("failed")
            logging.getLogger("django.request").exception("failed too")
            raise BadRequest("The header X is malformed.") from None
    except BadRequest:
        get_logger("x").exception("refused")
    first, second, third = lines(out)
    assert "canary" not in out.getvalue()
    assert first["error"] == second["error"] == "ValueError"
    assert "test_logs.py" in first["stack"][-1]
    assert (third["error"], third["error_message"]) == ("BadRequest", "The header X is malformed.")


@pytest.mark.parametrize(
    "secret",
    [
        new_api_key(),
        "sk-proj-abcdefgh12345678",
        "Bearer abc.def.ghi",
        "r8_abcdefghijklmnop",
        "postgresql://u:hunter2@h/d",
    ],
    ids=["ours", "openai", "bearer", "replicate", "database URL"],
)
def test_what_looks_like_a_credential_is_cut_out_of_foreign_texts(out, secret):
    logging.getLogger("library").error("cannot use %s here", secret)
    assert "[credential]" in lines(out)[0]["event"]
    for part in (secret, "hunter2", secret[-12:]):
        assert part not in out.getvalue() or part == "@h/d"


def test_libraries_are_heard_from_warnings_on_and_chatty_ones_less(out):
    logging.getLogger("library").info("canary")
    logging.getLogger("httpcore2.http11").warning("canary")
    logging.getLogger("uvicorn.access").info("canary")
    logging.getLogger("uvicorn.error").info("Started")
    assert [line["event"] for line in lines(out)] == ["Started"]


def test_warnings_are_logged(out):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old thing", UserWarning, stacklevel=1)
    assert lines(out)[0]["logger"] == "py.warnings"


def test_a_record_that_cannot_be_written_costs_nothing(out):
    bridge = next(each for each in logging.getLogger().handlers if type(each).__module__ == "agentcache.kit.logs")
    bridge.handle(logging.LogRecord("library", 30, __file__, 1, "%d", ("not a number",), None))
    assert lines(out)[0]["event"] == "unwritable_log_record"


@pytest.mark.usefixtures("out")
def test_the_level_is_obeyed():
    stream = io.StringIO()
    configure_logging("warning", stream)
    get_logger("x").info("quiet")
    get_logger("x").warning("loud")
    structlog.reset_defaults()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_repeated_line_is_written_once_per_interval_with_the_count_of_the_others():
    clock, said = ManualClock(), []
    say = OncePer(lambda event, **fields: said.append((event, fields)), 10, clock)
    for _ in range(1000):
        say("slow", store="redis")
    say("other")
    clock.move(10)
    say("slow", store="redis")
    clock.move(10)
    say("slow", store="redis")
    assert said == [
        ("slow", {"store": "redis"}),
        ("other", {}),
        ("slow", {"store": "redis", "suppressed": 999}),
        ("slow", {"store": "redis"}),
    ]


def test_only_changes_of_state_are_written():
    clock, said = ManualClock(), []
    breaker = StateChanges(lambda event, **fields: said.append(fields), "breaker", "closed", 1.0, clock)
    for _ in range(1000):
        breaker.now("closed")
    for _ in range(1000):
        breaker.now("open")
    clock.move(5)
    breaker.now("closed")
    assert said == [{"state": "open", "was": "closed"}, {"state": "closed", "was": "open"}]


def test_a_flapping_state_writes_at_most_one_line_per_interval_and_ends_with_the_truth():
    clock, said = ManualClock(), []
    breaker = StateChanges(lambda event, **fields: said.append(fields), "breaker", "closed", 1.0, clock)
    for number in range(100):
        breaker.now("open" if number % 2 == 0 else "closed")
        clock.move(0.05)
    clock.move(1)
    breaker.now("closed")
    assert len(said) <= 6
    assert said[-1]["state"] == "closed"
    assert sum(fields.get("suppressed", 0) + 1 for fields in said) >= 99


@pytest.mark.usefixtures("out")
def test_a_closed_output_costs_nothing():
    stream = io.StringIO()
    configure_logging("info", stream)
    stream.close()
    get_logger("x").info("into the void")
    structlog.reset_defaults()
