from __future__ import annotations

import pytest
from replicate.client import Client
from replicate.stream import EventSource

from agentcache.gateway.predictions.shown import event_stream


class Response:
    def __init__(self, body):
        self._body = body
        self.headers = {"content-type": "text/event-stream"}

    def iter_lines(self):
        yield from self._body.decode().split("\n")


@pytest.mark.parametrize(
    ("output", "pieces"),
    [
        (["Yes", ", that\nworks", "."], ["Yes", ", that\nworks", "."]),
        ("whole", ["whole"]),
        ({"caption": "a"}, ['{"caption":"a"}']),
        ([], []),
    ],
)
def test_the_official_client_reads_a_stored_stream(output, pieces):
    events = list(EventSource(Client(), Response(event_stream(output)), use_file_output=False))
    assert [event.data for event in events if event.event.value == "output"] == pieces
    assert events[-1].event.value == "done"
