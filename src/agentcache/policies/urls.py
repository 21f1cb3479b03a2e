"""Addresses of the pages of policies."""

from __future__ import annotations

from django.urls import path

from agentcache.policies import views

app_name = "policies"

urlpatterns = [
    path("dashboard/policies", views.index, name="index"),
    path("dashboard/policies/new", views.new, name="new"),
    path("dashboard/policies/dry-run", views.dry_run, name="dry-run"),
    path("dashboard/policies/versions", views.versions, name="versions"),
    path("dashboard/policies/versions/<int:number>", views.version, name="version"),
    path("dashboard/policies/versions/<int:number>/restore", views.restore, name="restore"),
    path("dashboard/policies/<slug:policy_id>", views.change, name="change"),
    path("dashboard/policies/<slug:policy_id>/move", views.move, name="move"),
    path("dashboard/policies/<slug:policy_id>/remove", views.remove, name="remove"),
]
