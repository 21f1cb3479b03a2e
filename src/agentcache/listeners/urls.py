"""Addresses of the pages of listeners."""

from __future__ import annotations

from django.urls import path

from agentcache.listeners import views

app_name = "listeners"

urlpatterns = [
    path("dashboard/listeners", views.index, name="index"),
    path("dashboard/listeners/new", views.new, name="new"),
    path("dashboard/listeners/<str:listener_id>", views.listener, name="listener"),
    path("dashboard/listeners/<str:listener_id>/change", views.change, name="change"),
    path("dashboard/listeners/<str:listener_id>/delete", views.delete, name="delete"),
    path("dashboard/listeners/<str:listener_id>/check", views.check, name="check"),
    path("dashboard/listeners/<str:listener_id>/pause", views.pause, name="pause"),
    path("dashboard/listeners/<str:listener_id>/resume", views.resume, name="resume"),
]
