import json
import re
from dataclasses import replace

import pytest
from django.urls import URLPattern, URLResolver, get_resolver

from agentcache.site.views import product
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.services import ensure_local_team
from agentcache.web.asgi import get_control_plane_app
from agentcache.web.security_policy import ADMIN, NO_PAGE, PAGE, SWAGGER, csp_header
from tests.support.asgi_call import call
from tests.support.django_project import use_settings


@pytest.fixture
def first(project):
    return ensure_local_team(ServerSecrets.of(project))


@pytest.fixture
def app(project):
    return get_control_plane_app(project)


async def test_the_api_docs_use_nothing_from_elsewhere(app):
    page = await call(app, "/api/docs")
    assert page.status == 200
    sources = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(sources) > 4
    for source in sources:
        assert source.startswith(("/", "#"))
        if source.startswith("/static/"):
            assert (await call(app, source)).status == 200
    assert "<script>" not in page.text
    assert "style=" not in page.text


async def test_a_guessed_icon_address_leads_to_the_icon(app):
    answer = await call(app, "/favicon.ico")
    assert answer.status == 302
    assert (await call(app, answer.headers["location"])).headers["content-type"] == "image/svg+xml"


async def test_an_unknown_page_is_a_404_in_our_style(app):
    page = await call(app, "/nowhere")
    assert page.status == 404
    assert "There is nothing here" in page.text
    assert "design/tokens." in page.text


async def test_an_unknown_api_route_is_a_problem(app):
    answer = await call(app, "/api/nowhere")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["code"] == "not_found"
    assert problem["request_id"] == answer.headers["x-agentcache-request-id"]
    assert answer.headers["content-security-policy"] == csp_header(NO_PAGE)


async def test_too_large_a_form_is_called_that(app):
    form = {"content_type": "application/x-www-form-urlencoded", "content_length": "3000000"}
    page = await call(app, "/login", method="POST", **form)
    assert page.status == 413
    assert "This is too large" in page.text


async def test_a_page_that_breaks_tells_nothing_but_an_id(app, monkeypatch, caplog):
    def fail(*_):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(product, "base_urls", fail)
    page = await call(app, "/")
    assert page.status == 500
    assert "Something went wrong" in page.text
    assert page.headers["x-agentcache-request-id"] in page.text
    assert "secret detail" not in page.text
    assert "Traceback" not in page.text
    assert page.headers["content-security-policy"] == csp_header(PAGE)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "a b", "localhost@evil.example"])
async def test_a_foreign_host_is_refused_before_a_page_is_made(app, host):
    page = await call(app, "/", host=host)
    assert page.status == 400
    assert "evil" not in page.text
    assert page.headers["content-security-policy"] == csp_header(PAGE)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8787", "[::1]:8787", "a.internal.example"])
async def test_our_hosts_are_answered(project, first, host):
    settings = replace(project, allowed_hosts=("*.internal.example",))
    with use_settings(settings):
        assert (await call(get_control_plane_app(settings), "/", host=host)).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_pages_are_for_reading(app, method):
    assert (await call(app, "/", method=method, sec_fetch_site="same-origin")).status in {403, 405}


def routes(patterns, prefix=""):
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns, prefix + str(pattern.pattern))
        elif isinstance(pattern, URLPattern):
            yield "/" + re.sub(r"<[^>]+>|\(\?P<\w+>[^)]*\)", "1", prefix + str(pattern.pattern)).rstrip("$")


async def test_every_route_has_every_security_header(app, first):
    paths = [*routes(get_resolver().url_patterns), "/nowhere", "/api/nowhere"]
    assert "/" in paths and "/api/docs" in paths and any(path.startswith("/admin/") for path in paths)
    for path in paths:
        headers = (await call(app, path)).headers
        policy = headers["content-security-policy"]
        assert policy in {csp_header(one) for one in (PAGE, SWAGGER, ADMIN, NO_PAGE)}, path
        assert "script-src 'self';" in policy or "script-src" not in policy, path
        assert "frame-ancestors 'none'" in policy, path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["referrer-policy"] == "no-referrer", path
        assert headers["cross-origin-opener-policy"] == "same-origin", path
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert headers["x-frame-options"] == "DENY", path
        assert headers["cache-control"] == "no-store", path
        assert "camera=()" in headers["permissions-policy"], path
        assert re.fullmatch(r"req_[0-9a-f]{32}", headers["x-agentcache-request-id"]), path
        assert "server" not in headers, path
        assert "strict-transport-security" not in headers, path


async def test_over_tls_browsers_are_told_to_stay_there(project, first):
    settings = replace(project, public_url="https://cache.example.com", trusted_proxies=1)
    with use_settings(settings):
        page = await call(get_control_plane_app(settings), "/", host="cache.example.com", x_forwarded_proto="https")
    assert page.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"


async def test_the_callers_request_id_is_not_believed(app, first):
    page = await call(app, "/", x_agentcache_request_id="forged", x_request_id="forged")
    assert "forged" not in page.headers["x-agentcache-request-id"]


async def test_a_wrong_method_is_told_on_a_page_or_as_a_problem(app, first):
    page = await call(app, "/preferences")
    assert (page.status, page.headers["allow"]) == (405, "POST")
    assert "There is no page at this address" in page.text
    problem = await call(app, "/api/account/login")
    assert problem.status == 405
    assert problem.headers["content-type"] == "application/problem+json"
    assert json.loads(problem.body)["code"] == "method_not_allowed"


async def test_what_is_no_page_gets_the_policy_of_no_page(app, first):
    for path in ("/api/teams", "/api/account/me", "/api/nowhere"):
        assert (await call(app, path)).headers["content-security-policy"] == csp_header(NO_PAGE)
