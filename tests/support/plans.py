"""Sees what SQLite plans: a statement that is prepared once, and run many times, is planned once."""

from __future__ import annotations

import apsw


def watch_plans(connection: apsw.Connection) -> list[object]:
    """Return a list that gets an item for each thing a plan touches from now on; when each statement is next run, it is planned once more."""
    planned: list[object] = []

    def touch(*what: object) -> int:
        planned.append(what)
        return apsw.SQLITE_OK

    connection.authorizer = touch
    return planned
