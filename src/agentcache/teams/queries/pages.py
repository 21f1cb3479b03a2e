"""Lists in pages: each begins behind the last row of the page before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from django.db.models import Model, Q, QuerySet, Subquery

PAGE_ROWS = 50
Row = TypeVar("Row")
Stored = TypeVar("Stored", bound=Model)


@dataclass(frozen=True, slots=True)
class ListPage(Generic[Row]):
    """Some rows of a list, and where the next page begins (empty at the end)."""

    rows: list[Row]
    next_cursor: str


def page_of(
    rows: QuerySet[Stored], order: Sequence[str], *, cursor: str = "", limit: int = PAGE_ROWS, narrowed: Q | None = None
) -> ListPage[Stored]:
    """Return one page of rows in the order of some columns, `-` for falling, and of their ids where these are equal.

    `cursor` is the id of the last row before; one that is not of these rows begins at the front. That row need not be
    among the `narrowed` ones any more.
    """
    names = [*order, "-pk" if order[0].startswith("-") else "pk"]
    found = rows.order_by(*names)
    if narrowed is not None:
        found = found.filter(narrowed)
    if cursor and (before := rows.filter(pk=cursor)).exists():
        found = found.filter(_behind(names, before.order_by()))
    page = list(found[: limit + 1])
    return ListPage(page[:limit], str(page[limit - 1].pk) if len(page) > limit else "")


def _behind(names: Sequence[str], row: QuerySet[Stored]) -> Q:
    # Compared inside the database: SQLite keeps the moments that it sets itself as texts of another length than ours.
    behind = Q()
    for name in reversed(names):
        column = name.lstrip("-")
        value = Subquery(row.values(column))
        further = Q(**{f"{column}__{'lt' if name.startswith('-') else 'gt'}": value})
        behind = further | Q(**{column: value}) & behind if behind else further
    return behind
