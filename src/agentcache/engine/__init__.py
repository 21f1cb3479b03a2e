"""The cache: keys, entries, freshness, admission, flights, stores."""
