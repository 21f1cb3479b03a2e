"""The doors are tried on both event loops: the one of production and the one of the standard library."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories():
    """Run every asynchronous test below this folder twice."""
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}
