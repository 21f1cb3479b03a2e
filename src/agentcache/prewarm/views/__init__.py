"""The pages of prewarming."""
