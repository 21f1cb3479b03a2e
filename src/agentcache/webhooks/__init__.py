"""Webhooks: tells a team's own programs what happened, signed after Standard Webhooks, at least once.

What happens is written down in the transaction of its cause (`services.emit`): a message, and a delivery with its job for
every endpoint that asked for it. The job worker sends them.
"""
