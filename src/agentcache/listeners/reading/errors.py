"""What can be wrong with a document."""

from __future__ import annotations


class NotReadable(Exception):
    """A document, or a selector, that nothing can be made of; the message is for people."""
