"""The JSON API of accounts, below /api/account."""

from ninja import Router

from agentcache.accounts.api.entering import router as entering
from agentcache.accounts.api.factors import router as factors
from agentcache.accounts.api.own import router as own

router = Router(tags=["Account"])
for part in (entering, own, factors):
    router.add_router("", part)

__all__ = ["router"]
