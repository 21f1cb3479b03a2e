"""The control plane alone, in this process: for pages that need no gateway, no jobs and settings of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentcache.settings import Settings
from agentcache.web.asgi import get_control_plane_app
from tests.support.asgi_server import ASGIServer
from tests.support.django_project import use_settings
from tests.support.migrated_records import put_into


@dataclass(frozen=True)
class ControlPlane:
    """Stands for a `Site` where only its address is asked for."""

    url: str


@contextmanager
def control_plane(folder: Path, values: Callable[[], dict[str, Any]] = dict, **settings: str) -> Iterator[ControlPlane]:
    """Serve pages on empty records in `folder`; a whole server takes ten times as long to start.

    `values` returns settings of Django that are none of the product's. It is called within the settings.
    """
    put_into(folder)
    read = Settings.from_env({"AGENTCACHE_DATA_DIR": str(folder), **settings})
    # Importable once Django is set up.
    from django.test import override_settings

    # The app is made within the settings, which its middleware reads once; it finds callers' addresses by itself.
    with (
        use_settings(read),
        override_settings(**values()),
        ASGIServer(get_control_plane_app(read), lifespan="off", proxy_headers=False) as server,
    ):
        yield ControlPlane(server.url)
