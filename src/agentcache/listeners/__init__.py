"""Watched sources: what answers were made of is looked at again and again, and answers go when it changes."""
