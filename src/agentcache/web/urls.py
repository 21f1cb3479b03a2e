"""Addresses of the pages. What is not here belongs to the gateway."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from agentcache.web import views
from agentcache.web.api import api
from agentcache.web.preferences import preferences

admin.autodiscover()

urlpatterns = [
    path("", include("agentcache.site.urls")),
    path("favicon.ico", views.favicon, name="favicon"),
    path("preferences", preferences, name="preferences"),
    path("api/docs", views.api_docs, name="api-docs"),
    path("api/", api.urls),
    path("accounts/", include("agentcache.accounts.provider_urls")),
    path("", include("agentcache.accounts.urls")),
    path("", include("agentcache.teams.urls")),
    path("", include("agentcache.tasks.urls")),
    path("", include("agentcache.webhooks.urls")),
    path("", include("agentcache.quotas.urls")),
    path("", include("agentcache.listeners.urls")),
    path("", include("agentcache.dashboard.urls")),
    path("", include("agentcache.policies.urls")),
    path("", include("agentcache.semantics.urls")),
    path("", include("agentcache.analytics.urls")),
    path("", include("agentcache.prewarm.urls")),
    path("", include("agentcache.mails.urls")),
    path("", include("agentcache.operators.urls")),
    path("admin/", admin.site.urls),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.server_error
