"""Addresses of the pages of API keys."""

from __future__ import annotations

from django.urls import path

from agentcache.dashboard import keys

urlpatterns = [
    path("dashboard/keys", keys.index, name="keys"),
    path("dashboard/keys/new", keys.new, name="key-new"),
    path("dashboard/keys/<str:key_id>", keys.detail, name="key"),
    path("dashboard/keys/<str:key_id>/change", keys.change, name="key-change"),
    path("dashboard/keys/<str:key_id>/rotate", keys.rotate, name="key-rotate"),
    path("dashboard/keys/<str:key_id>/revoke", keys.revoke, name="key-revoke"),
    path("dashboard/keys/<str:key_id>/env", keys.env, name="key-env"),
]
