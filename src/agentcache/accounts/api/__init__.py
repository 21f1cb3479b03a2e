"""The JSON API of accounts, below /api/account."""

from ninja import Router

from agentcache.accounts.api import entering, factors, own

router = Router(tags=["Account"])
for part in (entering, own, factors):
    router.add_router("", part.router)

__all__ = ["router"]
