"""One table per API dialect."""
