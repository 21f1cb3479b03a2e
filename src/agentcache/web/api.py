"""The JSON API of the control plane: one object, to which every app's router is added. The gateway's routes are not here."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

import agentcache
from agentcache.accounts.errors import NotSignedIn
from agentcache.gateway.problems import problem
from agentcache.kit.errors import AgentCacheError, BadRequest, NotFound
from agentcache.web import security_policy


def nobody(request: HttpRequest) -> None:
    """Let nobody in: what a route is guarded by that names no guard of its own. Public ones say `auth=None`."""


api = NinjaAPI(
    title="AgentCache",
    version=agentcache.__version__,
    urls_namespace="api",
    # The whole document, with the gateway's routes, is served by the gateway at /api/openapi.json.
    docs_url=None,
    openapi_url=None,
    auth=nobody,
)


@api.exception_handler(AgentCacheError)
def _on_our_error(request: HttpRequest, error: AgentCacheError) -> HttpResponse:
    return problem_response(request, error)


@api.exception_handler(AuthenticationError)
def _on_no_credential(request: HttpRequest, _error: AuthenticationError) -> HttpResponse:
    return problem_response(request, NotSignedIn())


@api.exception_handler(Http404)
def _on_not_found(request: HttpRequest, _error: Http404) -> HttpResponse:
    return problem_response(request, NotFound())


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    failure = BadRequest(str(error))
    failure.status = error.status_code
    return problem_response(request, failure)


@api.exception_handler(ValidationError)
def _on_invalid_body(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first: dict[str, Any] = error.errors[0] if error.errors else {}
    # The location begins with where it was read from and, for bodies, the name of our own parameter.
    names = [str(part) for part in first.get("loc", ())]
    param = names[-1] if len(names) > 1 else None
    return problem_response(request, BadRequest(f"{first.get('msg', 'The request is malformed')}.", param=param))


def problem_response(request: HttpRequest, error: AgentCacheError) -> HttpResponse:
    """Return an error as an RFC 9457 problem."""
    headers, body = problem(error, request.META.get("agentcache.request_id", ""))
    response = HttpResponse(body, status=error.status)
    for name, value in headers:
        response[name.decode()] = value.decode()
    retry_after = getattr(error, "retry_after_seconds", None)
    if retry_after is not None:
        response["Retry-After"] = str(retry_after)
    return security_policy.use(security_policy.NO_PAGE, response)


def _add_routers() -> None:
    # One line per app.
    from agentcache.accounts.api import router as accounts
    from agentcache.analytics.api import router as stats
    from agentcache.listeners.api import router as listeners
    from agentcache.policies.api import router as policies
    from agentcache.prewarm.api import credentials, keeping, prewarm, schedules
    from agentcache.quotas.api import router as quotas
    from agentcache.semantics.api import judges, semantics
    from agentcache.semantics.api import settings as semantic_settings
    from agentcache.tasks.api import router as tasks
    from agentcache.teams.api import router as teams
    from agentcache.teams.api.keys import router as keys
    from agentcache.teams.api.leaks import router as leaks
    from agentcache.web.account_actions import router as account_actions
    from agentcache.webhooks.api import router as webhooks

    api.add_router("/account", account_actions)
    api.add_router("/account", accounts)
    api.add_router("/policies", policies)
    api.add_router("/semantics/settings", semantic_settings)
    api.add_router("/semantics/judges", judges)
    api.add_router("/semantics", semantics)
    api.add_router("/jobs", tasks)
    api.add_router("/webhooks", webhooks)
    # First: `keeping` and `schedules` are no batches' ids.
    api.add_router("/cache/prewarm/keeping", keeping)
    api.add_router("/cache/prewarm/schedules", schedules)
    api.add_router("/cache/prewarm", prewarm)
    api.add_router("/credentials", credentials)
    api.add_router("/quotas", quotas)
    # First: `leaked` is no key's id.
    api.add_router("/keys", leaks)
    api.add_router("/keys", keys)
    api.add_router("/listeners", listeners)
    api.add_router("/stats", stats)
    api.add_router("/teams", teams)


_add_routers()
