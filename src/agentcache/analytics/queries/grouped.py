"""Sums over roll-ups, written as plain SQL: the ORM takes longer to build 64 sums than a database to add them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from django.db import connection
from django.db.models import Model

from agentcache.analytics.rollups import Grain
from agentcache.teams.models import Team

#: Groups by bucket, as `bucket` of `grouped` says.
BUCKET: Final = "bucket"


def grouped(
    team: Team,
    model: type[Model],
    by: Sequence[str],
    sums: Sequence[str],
    span: tuple[Grain, int, int],
    where: Mapping[str, str],
    bucket: tuple[int, int] = (0, 1),
) -> list[tuple[Any, ...]]:
    """Return for each group of a team's roll-ups in a span the values of `by`, then the sums.

    `where` holds columns to values that they must have. `bucket` is where the first bucket begins and how many seconds
    each has; groups by `BUCKET` are numbered from 0.
    """
    grain, start, end = span
    statement = _statement(model, tuple(by), tuple(sums), grain, tuple(where))
    values = [*(bucket if BUCKET in by else ()), team.pk, start, end, *where.values()]
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())


@lru_cache(maxsize=512)
def _statement(
    model: type[Model], by: tuple[str, ...], sums: tuple[str, ...], grain: Grain, where: tuple[str, ...]
) -> str:
    groups = [f"(start - %s) / %s AS {BUCKET}" if name == BUCKET else name for name in by]
    chosen = ", ".join([*groups, *(f"SUM({name})" for name in sums)])
    conditions = " AND ".join(f"{name} = %s" for name in where)
    # The grain is written out: only so can a database tell that an index on the sums of days will do.
    return (
        f"SELECT {chosen} FROM {model._meta.db_table} "  # noqa: S608 - names of our own columns
        f"WHERE team_id = %s AND grain = {int(grain)} AND start >= %s AND start < %s{' AND ' if where else ''}{conditions} "
        f"GROUP BY {', '.join(str(place + 1) for place in range(len(by)))}"
    )
