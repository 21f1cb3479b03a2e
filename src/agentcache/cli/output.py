"""How commands speak: calm lines for people, JSON for programs, one line per error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

PIPE_COLUMNS = 200


def console(*, stderr: bool = False) -> Console:
    """Return a terminal that colours only where colours are seen."""
    from rich.console import Console

    terminal = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not terminal.is_terminal:
        # A pipe has no width: what is cut at 80 columns there cannot be copied from a file or a log.
        terminal.width = PIPE_COLUMNS
    return terminal


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False, default=str) + "\n")


def print_error(message: str) -> None:
    """Print one line to standard error: what is wrong, where, how to mend it."""
    from rich.markup import escape

    console(stderr=True).print(f"[bold red]error:[/] {escape(' '.join(message.split()))}")


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows under a title, or the sentence `empty` when there are none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    terminal = console()
    terminal.print(table if table.row_count else empty)
