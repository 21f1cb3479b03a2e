"""Prewarming: asking providers before anybody waits, with credentials that teams keep here for it."""
