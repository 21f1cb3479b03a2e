"""Every write of semantic look-ups in the control plane."""

from __future__ import annotations

from agentcache.semantics.services.settings import remove_settings, save_settings

__all__ = ["remove_settings", "save_settings"]
