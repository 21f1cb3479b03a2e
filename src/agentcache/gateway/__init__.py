"""The data plane: bare ASGI, no framework, everything on the way of a cache hit."""
