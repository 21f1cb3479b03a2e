"""Addresses of the pages of analytics."""

from __future__ import annotations

from django.urls import path

from agentcache.analytics import views

app_name = "analytics"

urlpatterns = [
    path("dashboard/analytics", views.section, name="index"),
    path("dashboard/analytics/<slug:name>", views.section, name="section"),
    path("dashboard/analytics/<slug:name>.csv", views.export, name="export"),
]
