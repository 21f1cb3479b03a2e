"""Says in the log that the index fails, once a minute while it does: calls go on, so nobody else would."""

from __future__ import annotations

from typing import Final

from agentcache.engine.semantic.index.port import IndexUnavailable
from agentcache.kit.clock import Clock
from agentcache.kit.logs import get_logger

_SECONDS_BETWEEN: Final = 60.0
_log = get_logger(__name__)


class IndexTrouble:
    """Of one process, whose look-ups and whose learning meet the same index."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._failures = 0

    def met(self, error: Exception) -> None:
        """Take an error of the tier; what is none of the index is others' to tell."""
        if not isinstance(error, IndexUnavailable):
            return
        self._failures += 1
        now = self._clock.monotonic()
        if now - self._told_at >= _SECONDS_BETWEEN:
            _log.warning("semantic_index_failed", reason=error.message, failures=self._failures)
            self._told_at, self._failures = now, 0
