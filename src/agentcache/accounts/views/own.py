"""Pages about everything else of one's own: profile, address, sessions, appearance, export and deletion."""

from __future__ import annotations

import json
from functools import partial

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from agentcache.accounts import queries, services
from agentcache.accounts.access import fresh_session, signed_in, user_of
from agentcache.accounts.errors import SessionNotFound
from agentcache.accounts.views.forms import AppearanceForm, DeletionForm, NewAddressForm, ProfileForm
from agentcache.accounts.views.pages import answer, attempt, form_page, settings_tabs


@form_page
@signed_in
def profile(request: HttpRequest) -> HttpResponse:
    """Show and change what the user is called."""
    user = user_of(request)
    form = ProfileForm(request.POST if request.method == "POST" else None, initial={"name": user.name})
    error = None
    if request.method == "POST" and form.is_valid():
        error = attempt(form, partial(services.change_profile, user, name=form.cleaned_data["name"]))
        if error is None:
            messages.success(request, "Your profile is kept.")
            return redirect("accounts:profile")
    return answer(request, "accounts/profile.html", form, error, **settings_tabs("profile"))


@form_page
@fresh_session
def email(request: HttpRequest) -> HttpResponse:
    """Have a link mailed to a new address. Says nothing of whether the address has an account."""
    form = NewAddressForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data["email"]
        error = attempt(form, partial(services.change_email, request, wanted))
        if error is None:
            messages.success(request, f"Open the link that was mailed to {wanted}; the address changes then.")
            return redirect("accounts:profile")
    return answer(request, "accounts/email.html", form, error, **settings_tabs("profile"))


@require_safe
@signed_in
def sessions(request: HttpRequest) -> HttpResponse:
    """List where the user is signed in."""
    rows = queries.sessions_of(user_of(request), request.session)
    return render(request, "accounts/sessions.html", {"sessions": rows, **settings_tabs("sessions")})


@require_POST
@signed_in
def end_session(request: HttpRequest, session_id: str) -> HttpResponse:
    """End one session."""
    try:
        services.end_session(user_of(request), session_id, request)
    except SessionNotFound:
        messages.info(request, "That session had ended already.")
    else:
        messages.success(request, "The session has ended.")
    return redirect("accounts:sessions")


@require_POST
@signed_in
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """End every session but this one."""
    ended = services.end_other_sessions(request)
    messages.success(request, f"{ended} other session{'s have' if ended != 1 else ' has'} ended.")
    return redirect("accounts:sessions")


@form_page
@signed_in
def appearance(request: HttpRequest) -> HttpResponse:
    """Show and change colours and keyboard."""
    user = user_of(request)
    initial = {"theme": user.theme, "has_shortcuts": user.has_shortcuts}
    form = AppearanceForm(request.POST if request.method == "POST" else None, initial=initial)
    error = None
    if request.method == "POST" and form.is_valid():
        error = attempt(form, partial(services.change_profile, user, **form.cleaned_data))
        if error is None:
            messages.success(request, "Your choice is kept, for all your devices.")
            return redirect("accounts:appearance")
    return answer(request, "accounts/appearance.html", form, error, **settings_tabs("appearance"))


@require_safe
@fresh_session
def export(request: HttpRequest) -> HttpResponse:
    """Hand out everything that is kept about the user, as a file."""
    body = json.dumps(queries.export_of(user_of(request)), indent=2, ensure_ascii=False)
    response = HttpResponse(body, content_type="application/json")
    response["Content-Disposition"] = 'attachment; filename="agentcache-account.json"'
    return response


@form_page
@fresh_session
def danger(request: HttpRequest) -> HttpResponse:
    """Offer the export, and delete the account once its address is typed."""
    form = DeletionForm(request.POST or None)
    error = None
    if request.method == "POST" and form.is_valid():
        if form.cleaned_data["email"].strip().lower() != user_of(request).email.lower():
            form.add_error("email", "This is not your address.")
        else:
            error = attempt(form, partial(services.delete_account, request))
            if error is None:
                return render(request, "accounts/deleted.html")
    return answer(request, "accounts/danger.html", form, error, **settings_tabs("danger"))
