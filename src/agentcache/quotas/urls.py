"""Addresses of the pages of quotas."""

from __future__ import annotations

from django.urls import path

from agentcache.quotas import views

app_name = "quotas"

urlpatterns = [
    path("dashboard/billing", views.usage, name="usage"),
    path("dashboard/billing/limit", views.limit, name="limit"),
    path("dashboard/billing/behaviour", views.behaviour, name="behaviour"),
    path("dashboard/team/usage", views.attribution, name="attribution"),
]
