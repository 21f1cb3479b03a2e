"""Teams, their members and their API keys."""
