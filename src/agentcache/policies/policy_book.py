"""The policies that principals carry, compiled once for each version."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Final

from agentcache.engine.policies import NO_POLICIES, PolicySet
from agentcache.kit.errors import BadRequest
from agentcache.kit.logs import get_logger
from agentcache.policies import queries
from agentcache.policies.drafts import compiled
from agentcache.policies.models import PolicyVersion
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

_TEAMS_MAX: Final = 10_000
_log = get_logger(__name__)


class PolicyBook:
    """Answers with a team's policies, the same object for as long as their version is. For several threads."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, PolicySet] = OrderedDict()
        self._lock = Lock()

    def of(self, team_id: str) -> PolicySet:
        """Return the policies in force: one look at an index, and at the policies themselves when they are new."""
        team = Team(id=team_id)
        number = rows_of(team, PolicyVersion).order_by("-number").values_list("number", flat=True).first()
        if number is None:
            return NO_POLICIES
        with self._lock:
            known = self._known.get(team_id)
        if known is not None and known.version == number:
            return known
        found = self._compiled(team, number)
        with self._lock:
            self._known[team_id] = found
            self._known.move_to_end(team_id)
            if len(self._known) > _TEAMS_MAX:
                self._known.popitem(last=False)
        return found

    def _compiled(self, team: Team, number: int) -> PolicySet:
        drafts = queries.drafts_of(queries.get_version(team, number))
        understood = []
        for draft in drafts:
            try:
                compiled(number, [draft])
            except BadRequest as error:
                # It was checked when it was saved, by another release perhaps. The others still hold.
                _log.exception("policy_not_understood", tenant_id=team.pk, object_id=draft.id, reason=error.code)
            else:
                understood.append(draft)
        return compiled(number, understood)
