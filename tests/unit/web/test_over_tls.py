"""E2, E5: behind TLS, browsers are told to stay there, and cookies say that they belong to this host alone."""

from dataclasses import replace

import pytest
from django.test import Client
from django.urls import get_resolver

from agentcache.web.asgi import get_control_plane_app
from tests.support.accounts import Person
from tests.support.asgi_call import call
from tests.support.django_project import use_settings
from tests.unit.web.test_pages import routes

HOST = "cache.example.com"


@pytest.fixture
def behind_tls(sqlite_project):
    settings = replace(sqlite_project, public_url=f"https://{HOST}", trusted_proxies=1)
    with use_settings(settings):
        yield settings


async def test_every_answer_says_to_stay(behind_tls):
    app = get_control_plane_app(behind_tls)
    paths = [*routes(get_resolver().url_patterns), "/nothing", "/static/web/mark.svg", "/static/nothing"]
    assert len(paths) > 150
    for path in paths:
        answer = await call(app, path, host=HOST, x_forwarded_proto="https")
        assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains", path


async def test_without_tls_nobody_is_told_so(sqlite_project):
    assert "strict-transport-security" not in (await call(get_control_plane_app(sqlite_project), "/static/x")).headers


def flags(answer):
    return {
        name: {
            word.strip().lower().partition("=")[0]: word.partition("=")[2] for word in cookie.output().split(";")[1:]
        }
        for name, cookie in answer.cookies.items()
    }


def test_cookies_belong_to_this_host_alone(behind_tls):
    browser = Client(HTTP_HOST=HOST, HTTP_X_FORWARDED_PROTO="https", HTTP_X_FORWARDED_FOR="198.51.100.7")
    ada = Person(client=browser, is_browser=True).join()
    answer = ada.sign_in()
    assert answer.status_code == 200
    given = flags(answer)
    assert "__Host-agentcache_session" in given
    assert all(name.startswith("__Host-") for name in given)
    for name, said in given.items():
        assert {"secure", "httponly", "samesite", "path"} <= said.keys(), name
        assert said["samesite"] == "Lax" and said["path"] == "/" and "domain" not in said, name
    theme = Client(HTTP_HOST=HOST, HTTP_X_FORWARDED_PROTO="https", HTTP_SEC_FETCH_SITE="same-origin")
    for name, said in flags(theme.post("/preferences", {"theme": "dark"})).items():
        assert {"secure", "httponly", "samesite"} <= said.keys() and "domain" not in said, name


def test_without_tls_the_name_promises_nothing(sqlite_project):
    ada = Person(is_browser=True).join()
    assert {name for name in flags(ada.sign_in()) if name.startswith("__")} == set()
