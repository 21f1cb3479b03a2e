"""Starts the processes of one installation and keeps them running. Knows neither Django nor the gateway."""
