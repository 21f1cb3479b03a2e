"""Addresses of the pages of semantic look-ups."""

from __future__ import annotations

from django.urls import path

from agentcache.semantics import judge_views, views

app_name = "semantics"

urlpatterns = [
    path("dashboard/semantic", views.index, name="index"),
    path("dashboard/semantic/new", views.new, name="new"),
    path("dashboard/semantic/settings/<str:namespace>", views.change, name="change"),
    path("dashboard/semantic/settings/<str:namespace>/remove", views.remove, name="remove"),
    path("dashboard/semantic/judges", judge_views.index, name="judges"),
    path("dashboard/semantic/judges/new", judge_views.new, name="judge-new"),
    path("dashboard/semantic/judges/of/<str:namespace>", judge_views.change, name="judge-change"),
    path("dashboard/semantic/judges/of/<str:namespace>/remove", judge_views.remove, name="judge-remove"),
    path("dashboard/semantic/hits", views.hits, name="hits"),
    path("dashboard/semantic/hits/<str:request_id>/report", views.report, name="report"),
    path("dashboard/semantic/quarantine", views.quarantine, name="quarantine"),
    path("dashboard/semantic/quarantine/<str:entry_key>/release", views.release, name="release"),
    path("dashboard/semantic/playground", views.playground, name="playground"),
]
