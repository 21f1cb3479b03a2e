import pytest
from django.templatetags.static import static

from agentcache.web.asgi import get_control_plane_app
from tests.support.asgi_call import call


@pytest.fixture
def app(sqlite_project):
    return get_control_plane_app(sqlite_project)


async def test_a_hashed_name_may_be_kept_for_ever(app):
    url = static("design/tokens.css")
    answer = await call(app, url)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert b"--accent" in answer.body


async def test_a_plain_name_has_to_be_revalidated(app):
    first = await call(app, "/static/design/tokens.css")
    assert first.headers["cache-control"] == "no-cache"
    again = await call(app, "/static/design/tokens.css", if_none_match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")


async def test_a_hash_of_other_content_is_not_served(app):
    url = static("design/tokens.css")
    wrong = url.replace(url.split(".")[-2], "0" * 12)
    assert (await call(app, wrong)).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/static/", "/static/nothing.css", "/static/../web/views.py", "/static/web/../../views.py", "/static//etc/passwd",
        "/static/web", "/static/web/\0.css", "/static/%2e%2e/views.py", "/static/agentcache/web/views.py",
    ],
)  # fmt: skip
async def test_nothing_but_static_files_is_served(app, path):
    answer = await call(app, path)
    assert answer.status == 404
    assert answer.body == b""


async def test_heads_are_answered_without_a_body_and_other_methods_are_not(app):
    head = await call(app, "/static/design/tokens.css", method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 1000
    assert (await call(app, "/static/design/tokens.css", method="POST")).status == 405


def test_a_page_cannot_name_a_file_that_does_not_exist(sqlite_project):
    with pytest.raises(FileNotFoundError):
        static("web/missing.css")
