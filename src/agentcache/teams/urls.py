"""Addresses of the pages of teams."""

from __future__ import annotations

from django.urls import path

from agentcache.teams.views import audit, invitations, members, teams

app_name = "teams"

urlpatterns = [
    path("dashboard/team", members.members, name="index"),
    path("dashboard/team/members", members.members, name="members"),
    path("dashboard/team/members/<str:member_id>", members.member, name="member"),
    path("dashboard/team/members/<str:member_id>/remove", members.remove, name="remove"),
    path("dashboard/team/members/<str:member_id>/transfer", members.transfer, name="transfer"),
    path("dashboard/team/leave", members.leave, name="leave"),
    path("dashboard/team/roles", members.roles, name="roles"),
    path("dashboard/team/invites", invitations.invites, name="invites"),
    path("dashboard/team/invites/new", invitations.invite, name="invite"),
    path("dashboard/team/invites/<str:invitation_id>/resend", invitations.resend, name="resend"),
    path("dashboard/team/invites/<str:invitation_id>/cancel", invitations.cancel, name="cancel"),
    path("dashboard/team/settings", teams.settings, name="settings"),
    path("dashboard/team/logo", teams.set_logo, name="set-logo"),
    path("dashboard/team/logo/<str:team_id>/<str:digest>", teams.logo, name="logo"),
    path("dashboard/team/webhook-key", teams.webhook_key, name="webhook-key"),
    path("dashboard/team/delete", teams.delete, name="delete"),
    path("dashboard/team/new", teams.new, name="new"),
    path("dashboard/team/switch", teams.switch, name="switch"),
    path("dashboard/audit", audit.audit_log, name="audit"),
    path("dashboard/audit/export", audit.export, name="audit-export"),
    path("invite/<str:token>", invitations.invitation, name="invitation"),
]
