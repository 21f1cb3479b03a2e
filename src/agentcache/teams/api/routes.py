"""The router that every module here adds its operations to."""

from __future__ import annotations

from ninja import Router

router = Router(tags=["Teams"])
