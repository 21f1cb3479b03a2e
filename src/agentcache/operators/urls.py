"""Addresses beside the console."""

from __future__ import annotations

from django.urls import path

from agentcache.operators import views

urlpatterns = [
    path("setup/<str:token>", views.setup, name="setup"),
    path("view-as/end", views.end_view_as, name="impersonation-end"),
]
