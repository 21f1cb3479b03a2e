"""The only door to the outside: every outbound connection of AgentCache is opened below this package."""
