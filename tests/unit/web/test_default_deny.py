"""No address without a guard (A12): each page and each operation names one, or is public by name."""

import re
from collections.abc import Iterator

import pytest
from django.urls import get_resolver

from agentcache.accounts.session_auth import SessionAuth
from agentcache.teams.access import TeamAuth
from agentcache.teams.permissions import Permission
from agentcache.web.api import api, nobody
from tests.support.reliability import record
from tests.support.sessions import stranger

#: Pages that everybody may see, and why.
PUBLIC_PAGES = {
    "/": "the start page",
    "/pricing": "what a team gets",
    "/status": "how this server is, without any name or number of a team",
    "/security": "how to report, and what is protected",
    "/.well-known/security.txt": "the same for machines",
    "/changelog": "what has changed",
    "/docs": "the manual",
    "/docs/{name}": "the manual",
    "/robots.txt": "for search engines",
    "/sitemap.xml": "for search engines",
    "/favicon.ico": "browsers ask for it",
    "/api/docs": "the documentation of the API",
    "/preferences": "how pages look, in this browser or with the account that is signed in",
    "/signup": "to make an account",
    "/login": "to sign in",
    "/login/mfa": "the second factor of a sign-in that has begun",
    "/logout": "ends what session there is",
    "/verify": "for whoever holds the link",
    "/resend": "to have a link mailed again",
    "/forgot": "to have a link mailed",
    "/reset": "for whoever holds the link",
    "/settings": "leads to a guarded page",
    "/invite/{token}": "for whoever holds the link; accepting asks for a session, or makes an account",
}
#: Beginnings of addresses that are guarded as a whole, and by what.
GUARDED_AS_A_WHOLE = {
    "/admin/": "the operator console lets operators in",
    "/accounts/": "sign-in by GitHub and Google, before there is a session",
    "/api/": "operations, walked below",
    "/dev/": "pages for developers, answered on loopback only",
}
#: Operations that take no credential: strangers come in through these.
PUBLIC_OPERATIONS = {
    "/account", "/account/register", "/account/resend-verification", "/account/verify", "/account/login",
    "/account/login/second-factor", "/account/login/passkey-options", "/account/login/passkey",
    "/account/forgot-password", "/account/reset-password",
    # Whoever holds a key's value can use it, so anybody may end it.
    "/keys/leaked",
    "/keys/leaked/github",
}  # fmt: skip


def pages(patterns=None, before="/") -> Iterator[tuple[str, object]]:
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        address = before + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if hasattr(pattern, "url_patterns"):
            yield from pages(pattern.url_patterns, address)
        else:
            yield address, pattern.callback


def own_pages():
    return {
        address: view
        for address, view in pages()
        if address in PUBLIC_PAGES or not address.startswith(tuple(GUARDED_AS_A_WHOLE))
    }


def operations():
    for prefix, router in api._routers:
        for path, view in router.path_operations.items():
            for operation in view.operations:
                yield "/" + re.sub("/+", "/", f"{prefix}{path}").strip("/"), operation


def is_guarded(operation):
    callbacks = operation.auth_callbacks or (() if operation.auth_param is None else (nobody,))
    return bool(callbacks) and all(isinstance(one, SessionAuth | TeamAuth) or one is nobody for one in callbacks)


def test_a12_every_page_names_its_guard_or_is_public_by_name():
    guards = {address: getattr(view, "access", None) for address, view in own_pages().items()}
    assert {address for address, guard in guards.items() if guard is None} == set(PUBLIC_PAGES)
    assert {guard for guard in guards.values() if guard is not None} <= {"signed_in", "setup_link", *Permission}
    record("A12", pages=len(guards), operations=len(list(operations())), unguarded=0)


def test_a12_every_operation_of_the_api_names_its_guard_or_is_public_by_name():
    assert {path for path, operation in operations() if not is_guarded(operation)} == PUBLIC_OPERATIONS


@pytest.mark.parametrize("given", [{}, {"HTTP_X_ORIGINAL_URL": "/"}, {"HTTP_X_REWRITE_URL": "/"},
                                   {"HTTP_X_FORWARDED_PREFIX": "/invite"}], ids=["plain", "original", "rewrite", "prefix"])  # fmt: skip
def test_a12_a_stranger_reaches_no_guarded_page_whatever_headers_say(sqlite_project, given):
    reached = []
    for address, view in own_pages().items():
        if getattr(view, "access", None) is not None:
            answer = stranger().get(address.format_map(Anything()), **given)
            if view.access == "setup_link" and answer.status_code == 404:
                continue  # the link itself is the guard, and this one was never made
            if answer.status_code not in (302, 405) or (
                answer.status_code == 302 and "/login" not in answer["Location"]
            ):
                reached.append((address, answer.status_code))
    assert reached == []


@pytest.mark.parametrize("spelling", ["//dashboard/team", "/dashboard//team", "/dashboard/team;x", "/dashboard/%2e/team",
                                      "/dashboard%2Fteam", "/DASHBOARD/team", "/dashboard/team.", "/dashboard/team/",
                                      "/invite/../dashboard/team", "/api/%2e%2e/dashboard/team"])  # fmt: skip
def test_a12_no_other_spelling_of_an_address_goes_round_its_guard(sqlite_project, spelling):
    answer = stranger().get(spelling)
    assert answer.status_code in (302, 404)
    assert b"Members" not in answer.content


class Anything(dict):
    """Fills every parameter of an address."""

    def __missing__(self, name):
        return "0" * 32
