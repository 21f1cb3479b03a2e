import pytest


@pytest.fixture(autouse=True)
def _nothing_remembered():
    """Each test counts and asks anew."""
    from agentcache.site import live_figures, server_status

    live_figures.forget()
    server_status.forget()
