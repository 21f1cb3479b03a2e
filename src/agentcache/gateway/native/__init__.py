"""Our own cache API below `/api/cache/`: read, store, search, remove and explain entries."""
