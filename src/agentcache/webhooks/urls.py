"""Addresses of the pages of webhooks."""

from __future__ import annotations

from django.urls import path

from agentcache.webhooks import views

app_name = "webhooks"

urlpatterns = [
    path("dashboard/webhooks", views.index, name="index"),
    path("dashboard/webhooks/new", views.new, name="new"),
    path("dashboard/webhooks/event-types", views.event_types, name="event-types"),
    path("dashboard/webhooks/<str:endpoint_id>", views.detail, name="endpoint"),
    path("dashboard/webhooks/<str:endpoint_id>/change", views.change, name="change"),
    path("dashboard/webhooks/<str:endpoint_id>/rotate", views.rotate, name="rotate"),
    path("dashboard/webhooks/<str:endpoint_id>/switch", views.switch, name="switch"),
    path("dashboard/webhooks/<str:endpoint_id>/delete", views.delete, name="delete"),
    path("dashboard/webhooks/<str:endpoint_id>/test", views.send_test, name="test"),
    path("dashboard/webhooks/<str:endpoint_id>/redeliver", views.redeliver_range, name="redeliver-range"),
    path("dashboard/webhooks/<str:endpoint_id>/deliveries/<str:delivery_id>", views.delivery, name="delivery"),
    path(
        "dashboard/webhooks/<str:endpoint_id>/deliveries/<str:delivery_id>/redeliver",
        views.redeliver,
        name="redeliver",
    ),
]
