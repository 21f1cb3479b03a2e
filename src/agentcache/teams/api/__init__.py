"""JSON API of teams, under /api/teams."""

from __future__ import annotations

from ninja import Router

from agentcache.teams.api import audit, invitations, members, teams

router = Router(tags=["Teams"])
# The more specific first: `roles` and `invitations` are no team ids.
router.add_router("", invitations.router)
router.add_router("", teams.router)
router.add_router("", members.router)
router.add_router("", audit.router)

__all__ = ["router"]
