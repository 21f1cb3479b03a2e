"""Addresses of the pages of prewarming."""

from __future__ import annotations

from django.urls import path

from agentcache.prewarm.views import batches, credentials, schedules

app_name = "prewarm"

urlpatterns = [
    path("dashboard/prewarm", batches.index, name="batches"),
    path("dashboard/prewarm/new", batches.new, name="new"),
    path("dashboard/prewarm/keeping", batches.keeping, name="keeping"),
    path("dashboard/prewarm/schedules", schedules.index, name="schedules"),
    path("dashboard/prewarm/schedules/new", schedules.new, name="schedule-new"),
    path("dashboard/prewarm/schedules/<str:schedule_id>/pause", schedules.pause, name="schedule-pause"),
    path("dashboard/prewarm/schedules/<str:schedule_id>/run", schedules.run, name="schedule-run"),
    path("dashboard/prewarm/schedules/<str:schedule_id>/delete", schedules.delete, name="schedule-delete"),
    path("dashboard/prewarm/<str:batch_id>", batches.detail, name="batch"),
    path("dashboard/prewarm/<str:batch_id>/run", batches.run, name="run"),
    path("dashboard/credentials", credentials.index, name="credentials"),
    path("dashboard/credentials/new", credentials.keep, name="credential-new"),
    path("dashboard/credentials/<str:provider>/test", credentials.test, name="credential-test"),
    path("dashboard/credentials/<str:provider>/delete", credentials.delete, name="credential-delete"),
]
