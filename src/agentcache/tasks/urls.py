"""Addresses of the pages of jobs."""

from __future__ import annotations

from django.urls import path

from agentcache.tasks import views

app_name = "tasks"

urlpatterns = [
    path("dashboard/jobs", views.index, name="index"),
    path("dashboard/jobs/<str:task_id>", views.detail, name="task"),
    path("dashboard/jobs/<str:task_id>/cancel", views.cancel, name="cancel"),
]
