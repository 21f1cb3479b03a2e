"""AgentCache: a cache for AI API calls."""

__version__ = "0.1.0"
