"""Semantic look-ups as teams see them: settings of namespaces, evidence, quarantine, and what a pair of prompts comes to."""
