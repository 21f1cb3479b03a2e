"""Journeys in a real browser. A package, so that its servers can end with it."""
