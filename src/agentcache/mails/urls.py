"""Addresses of the mails on a laptop."""

from __future__ import annotations

from django.urls import path

from agentcache.mails import views

app_name = "mails"

urlpatterns = [
    path("dev/mail", views.outbox, name="outbox"),
    path("dev/mail/<slug:mail_id>", views.mail, name="mail"),
    path("dev/mail/<slug:mail_id>/html", views.mail_html, name="mail-html"),
]
