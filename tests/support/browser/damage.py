"""Damage to a site's records, for pages that have to say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pysqlite3 import dbapi2 as sqlite3

from tests.support.browser.site import Site

_PATIENCE_SECONDS = 60


@contextmanager
def broken_table(site: Site, name: str) -> Iterator[None]:
    """Have whatever reads or writes a table fail inside the block."""
    _rename(site, name, f"{name}_away")
    try:
        yield
    finally:
        _rename(site, f"{name}_away", name)


def _rename(site: Site, name: str, other: str) -> None:
    with sqlite3.connect(site.folder / "app.db", timeout=_PATIENCE_SECONDS) as database:
        database.execute(f"ALTER TABLE {name} RENAME TO {other}")
