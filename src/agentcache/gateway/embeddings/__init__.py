"""Embeddings, cached per input item: a batch asks the provider only for the items that nobody asked for before."""

from agentcache.gateway.embeddings.items import Item, shares
from agentcache.gateway.embeddings.route import answer_embeddings, narrow_to_due
from agentcache.gateway.embeddings.stored import stored_answer

__all__ = ["Item", "answer_embeddings", "narrow_to_due", "shares", "stored_answer"]
