"""Which page of a list is asked for, in every JSON API that has lists."""

from __future__ import annotations

from typing import Annotated

from ninja import Schema
from pydantic import Field


class PageAsked(Schema):
    """A page: where it begins, as the page before says, and how many rows it has at most."""

    cursor: str = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
