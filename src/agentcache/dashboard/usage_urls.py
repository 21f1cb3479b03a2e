"""Addresses of the overview, of requests and of the cache browser."""

from __future__ import annotations

from django.urls import path

from agentcache.dashboard import cache_browser, checklist, invalidate, overview, requests

urlpatterns = [
    path("dashboard", overview.overview, name="overview"),
    path("dashboard/overview.csv", overview.overview_csv, name="overview-csv"),
    path("dashboard/checklist", checklist.choose, name="checklist"),
    path("dashboard/first-request", overview.first_request, name="first-request"),
    path("dashboard/requests", requests.requests, name="requests"),
    path("dashboard/requests/<str:request_id>", requests.request_page, name="request"),
    path("dashboard/cache", cache_browser.cache, name="cache"),
    path("dashboard/cache/invalidate", invalidate.invalidate, name="cache-invalidate"),
    path("dashboard/cache/invalidations/<str:invalidation_id>", invalidate.result, name="cache-invalidation"),
    path("dashboard/cache/<str:key>", cache_browser.entry, name="cache-entry"),
    path("dashboard/cache/<str:key>/delete", cache_browser.delete_entry, name="cache-entry-delete"),
]
