"""The operator console: Django's admin behind our own sign-in, read-only unless a class says otherwise, and on record."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin import helpers
from django.contrib.admin.utils import model_ngettext
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone

from agentcache.accounts.access import fresh_session, is_fresh
from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.operators import queries, views

_USAGE_DAYS = 30


class OnRecord(admin.ModelAdmin):  # type: ignore[type-arg]  # not generic when it runs
    """What every class of the console gets: nothing can be changed that is not in `editable`, and changes are audited.

    An action whose description ends in "…" is asked about once more; its docstring says what will happen.
    """

    #: Names of fields; `may_add` lets rows be made.
    editable: tuple[str, ...] = ()
    may_add = False
    #: Whether the services that `save_model` calls write to the audit log themselves.
    audits_itself = False
    show_full_result_count = False
    list_per_page = 50

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say whether rows can be made."""
        return self.may_add and super().has_add_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Rows are never deleted here: what ends, ends by a service."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Say whether anything can be changed."""
        return bool(self.editable) and super().has_change_permission(request, obj)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> Any:
        """Call a list by what it lists."""
        plural = str(self.opts.verbose_name_plural)
        return super().changelist_view(request, {"title": plural[:1].upper() + plural[1:], **(extra_context or {})})

    def construct_change_message(  # type: ignore[override]  # read by `log_change` only
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> dict[str, dict[str, object]]:
        """Return the fields that change, as they were and as they are."""
        changed = form.changed_data
        return {
            "before": {} if add else {name: form.initial.get(name) for name in changed},
            "after": {name: form.cleaned_data[name] for name in changed},
        }

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write it to our audit log instead of Django's."""
        self._record(request, obj, f"{self.opts.model_name}.created", message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Write it to our audit log instead of Django's; actions give the name of what they did."""
        action = message if isinstance(message, str) else f"{self.opts.model_name}.changed"
        self._record(request, obj, action, {} if isinstance(message, str) else message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Model]) -> Any:
        """Nothing is deleted here."""

    def _record(self, request: HttpRequest, obj: Model, action: str, changes: dict[str, Any]) -> None:
        if changes and self.audits_itself:
            return
        audit.record(
            action=action, actor=Actor.of(request), team_id=getattr(obj, "team_id", None),
            target_kind=str(self.opts.model_name), target_id=str(obj.pk), target_name=str(obj),
            before=changes.get("before"), after=changes.get("after"),
        )  # fmt: skip

    def response_action(  # type: ignore[override]  # as Django calls it
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponseBase:
        """Do an action in one transaction, after asking where its description ends in "…"."""
        name = request.POST.get("action", "")
        action = self.get_actions(request).get(name)
        chosen = request.POST.getlist(helpers.ACTION_CHECKBOX_NAME)
        if action is not None and chosen and action[2].endswith("…") and "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "title": action[2].removesuffix("…"),
                "explained": (action[0].__doc__ or "").strip(),
                "action": name,
                "chosen": queryset.filter(pk__in=chosen),
                "ids": chosen,
                "counted": model_ngettext(self.opts, len(chosen)),
                "opts": self.opts,
            }
            return TemplateResponse(request, "operators/confirm.html", context)
        with transaction.atomic():
            return super().response_action(request, queryset) or redirect(request.get_full_path())


class Console(admin.AdminSite):
    """The site. Models of other people's packages are left out: their pages know nothing of our rules."""

    # Its first page lists the same; beside a list there is no room for it.
    enable_nav_sidebar = False
    empty_value_display = "–"

    site_header = "AgentCache"
    site_title = "Operator console"
    index_title = "Operator console"
    index_template = "operators/index.html"

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Add models of ours, read-only and on record."""
        models: Iterable[type[Model]] = (
            [model_or_iterable] if isinstance(model_or_iterable, type) else model_or_iterable
        )
        for model in models:
            if model.__module__.startswith("agentcache."):
                given = admin_class or admin.ModelAdmin
                super().register(model, type(given.__name__, (given, OnRecord), {}), **options)

    def has_permission(self, request: HttpRequest) -> bool:
        """Operators only, and never in somebody else's place."""
        return request.user.is_active and request.user.is_staff and not getattr(request, "impersonator", None)

    def admin_view(  # type: ignore[override]  # as wide as the views are
        self, view: Callable[..., Any], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        """Have every page ask for a sign-in that is not older than 15 minutes."""
        shown = super().admin_view(view, cacheable)

        def guarded(request: HttpRequest, /, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.user.is_authenticated and not self.has_permission(request):
                # The console is nobody else's business, not even that it is there.
                raise Http404
            if request.user.is_authenticated and not is_fresh(request) and request.method == "POST":
                return redirect(f"{reverse('accounts:reauthenticate')}?{urlencode({'next': request.path})}")
            return fresh_session(shown)(request, *args, **kwargs)

        guarded.access = "operator"  # type: ignore[attr-defined]  # read by the walk over all routes
        return guarded

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Sign in by the product's own page."""
        return redirect(f"{reverse('accounts:login')}?{urlencode({'next': reverse('admin:index')})}")

    def password_change(  # type: ignore[override]  # leads away
        self, request: HttpRequest, extra_context: Any = None
    ) -> HttpResponse:
        """Change the password where everybody does."""
        return redirect("accounts:security")

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """Add our own pages."""
        own: list[URLPattern | URLResolver] = [
            path("usage/", self.admin_view(self.usage), name="usage"),
            path("view-as/<str:user_id>/", self.admin_view(views.view_as), name="view-as"),
        ]
        return own + super().get_urls()

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Show how the server is."""
        context = {"health": queries.health(timezone.now()), **(extra_context or {})}
        return super().index(request, context)

    def usage(self, request: HttpRequest) -> HttpResponse:
        """Show which teams used most."""
        context = {
            **self.each_context(request),
            "title": f"Usage of the last {_USAGE_DAYS} days",
            "teams": queries.usage_by_team(timezone.now(), _USAGE_DAYS),
        }
        return TemplateResponse(request, "operators/usage.html", context)
