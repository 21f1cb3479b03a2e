"""Addresses of the dashboard's pages."""

from __future__ import annotations

from agentcache.dashboard import key_urls, usage_urls

app_name = "dashboard"

urlpatterns = [*key_urls.urlpatterns, *usage_urls.urlpatterns]
