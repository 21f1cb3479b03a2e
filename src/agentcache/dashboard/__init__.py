"""Pages that show several nouns at once: overview, keys with their limits and usage, cache browser, requests."""
