"""Imports of libraries without those that they load only because they happen to be installed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def without(*packages: str) -> Iterator[None]:
    """Have what is imported in the block do without optional packages, unless this process has loaded them already."""
    hidden = [name for name in packages if name not in sys.modules]
    # As the language has it: None stands for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
