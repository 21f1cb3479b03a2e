"""Every write of listeners: what people do with them (`listeners`), and what the worker finds (`turns`, `records`)."""

from __future__ import annotations

from agentcache.listeners.services.listeners import change, check_now, delete, pause, register, resume

__all__ = ["change", "check_now", "delete", "pause", "register", "resume"]
