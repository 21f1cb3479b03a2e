"""Every write of semantic look-ups in the control plane."""

from __future__ import annotations

from agentcache.semantics.services.learning import learn_due, learn_threshold, relearn
from agentcache.semantics.services.pruning import TEXTS_KEPT_DAYS, prune
from agentcache.semantics.services.quarantining import note_told, release, report_bad_hit
from agentcache.semantics.services.settings import remove_settings, save_settings
from agentcache.semantics.services.taking import take_events

__all__ = [
    "TEXTS_KEPT_DAYS",
    "learn_due",
    "learn_threshold",
    "note_told",
    "prune",
    "relearn",
    "release",
    "remove_settings",
    "report_bad_hit",
    "save_settings",
    "take_events",
]
