"""Every write of semantic look-ups in the control plane."""

from __future__ import annotations

from agentcache.semantics.services.judges import judge_providers, remove_judge, save_judge
from agentcache.semantics.services.judging import (
    BegunJudge,
    Verdict,
    Waiting,
    begin_judge,
    due_judges,
    note_answered,
    note_trouble,
    note_unfit,
    note_verdicts,
    set_aside,
)
from agentcache.semantics.services.learning import learn_due, learn_threshold, relearn
from agentcache.semantics.services.pruning import TEXTS_KEPT_DAYS, prune
from agentcache.semantics.services.quarantining import note_told, release, report_bad_hit, tell_anew
from agentcache.semantics.services.settings import remove_settings, save_settings
from agentcache.semantics.services.taking import take_events

__all__ = [
    "TEXTS_KEPT_DAYS",
    "BegunJudge",
    "Verdict",
    "Waiting",
    "begin_judge",
    "due_judges",
    "judge_providers",
    "learn_due",
    "learn_threshold",
    "note_answered",
    "note_told",
    "note_trouble",
    "note_unfit",
    "note_verdicts",
    "prune",
    "relearn",
    "release",
    "remove_judge",
    "remove_settings",
    "report_bad_hit",
    "save_judge",
    "save_settings",
    "set_aside",
    "take_events",
    "tell_anew",
]
