"""Replicate's predictions."""

from __future__ import annotations


class Predictions:
    """The predictions made so far."""

    def __init__(self, seconds: float, file_lifetime: float) -> None:
        self.seconds = seconds
        self.file_lifetime = file_lifetime

    def expire(self) -> None:
        """Make every prediction older than its lifetime."""
