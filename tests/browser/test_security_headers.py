"""E2: every answer of every route carries the browser's guards, and the policies leave no way round them."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.support.browser.damage import broken_table
from tests.support.browser.pages import addresses
from tests.support.browser.people import make_operator, new_key, program_of
from tests.support.browser.visitor import Visitor
from tests.support.reliability import record
from tests.support.routes import PUBLIC_TARGETS, native_routes, provider_routes, settings_dialects
from tests.support.tiers import IS_RELEASE

#: Every route there is, one after the other.
pytestmark = pytest.mark.timeout(360)

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "src/agentcache/design/static/design/built"
#: Of every answer of the pages' side.
TABLE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
#: Of every answer of the gateway that a browser can get without a key.
GATEWAY_TABLE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
}
NO_PAGE = {"default-src": ["'none'"], "frame-ancestors": ["'none'"], "sandbox": []}
#: Sources that a policy of ours may never name.
LOOSE = re.compile(r"'unsafe-eval'|'unsafe-hashes'|'strict-dynamic'|'nonce-|\*|https?:$|blob:|filesystem:")


def parsed(policy):
    directives = [part.split() for part in policy.split(";") if part.strip()]
    assert len({name for name, *_ in directives}) == len(directives), f"a directive twice: {policy}"
    return {name: sources for name, *sources in directives}


def is_page(answer):
    return answer.headers.get("content-type", "text/html").startswith("text/html")


def plot_hash():
    """The hash of the style, computed anew from what was built, as a browser does."""
    style = json.loads((BUILT / "plot-style.json").read_text())["style"]
    return "'sha256-" + base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() + "'"


def wrong_with(answer, where):
    """What is missing, or loose, in an answer of the pages' side."""
    wrong = [
        f"{name}: {answer.headers.get(name)}" for name, value in TABLE.items() if answer.headers.get(name) != value
    ]
    policy = parsed(answer.headers.get("content-security-policy", ""))
    if not is_page(answer):
        wrong += [] if policy == NO_PAGE else [f"a policy of no page: {policy}"]
    else:
        strict = {"default-src": ["'none'"], "frame-ancestors": ["'none'"], "base-uri": ["'none'"]}
        strict |= {} if "sandbox" in policy else {"script-src": ["'self'"], "object-src": ["'none'"]}
        wrong += [f"{name} is {policy.get(name)}" for name, value in strict.items() if policy.get(name) != value]
        wrong += [f"{name} {one}" for name, sources in policy.items() for one in sources if LOOSE.search(one)]
        is_helped = where.startswith("/admin/") or where == "/api/docs"
        if not is_helped and "sandbox" not in policy:
            wrong += (
                [] if policy.get("style-src") == ["'self'", plot_hash()] else [f"styles: {policy.get('style-src')}"]
            )
            wrong += [] if policy.get("require-trusted-types-for") == ["'script'"] else ["no trusted types"]
    off = [feature for feature in answer.headers.get("permissions-policy", "").split(", ") if feature.endswith("=()")]
    wrong += (
        [] if {"camera=()", "geolocation=()", "microphone=()", "payment=()", "usb=()"} <= set(off) else ["permissions"]
    )
    wrong += [
        f"{name} tells" for name in ("server", "x-powered-by", "access-control-allow-origin") if name in answer.headers
    ]
    return [f"{where}: {answer.status_code}: {one}" for one in wrong]


@pytest.fixture(scope="module")
def people(_turns, _browser, sqlite_site):
    """Programs of a stranger, of a member and of an operator, and a key of the member's."""
    with _turns.taken():
        ada, olga = (
            Visitor.of(_browser, sqlite_site, "ada").sign_up(),
            Visitor.of(_browser, sqlite_site, "olga").sign_up(),
        )
        make_operator(olga)
        key = new_key(ada)
        programs = {"member": program_of(ada), "operator": program_of(olga)}
    stranger = httpx.Client(base_url=sqlite_site.url, headers={"Sec-Fetch-Site": "same-origin"})
    yield {"stranger": stranger, **programs}, key
    for program in (stranger, *programs.values()):
        program.close()
    with _turns.taken():
        ada.close()
        olga.close()


def test_every_route_has_every_header(people, sqlite_site):
    """E2: for strangers, members and operators; pages, files, the API, and every kind of refusal."""
    programs, _ = people
    wrong, policies, count = [], set(), 0

    def check(answer, where):
        nonlocal count
        count += 1
        wrong.extend(wrong_with(answer, where))
        policies.add(answer.headers["content-security-policy"])

    every = [re.sub(r"\{\w+\}", "1", address) for address in addresses(sqlite_site)]
    assert len(every) > 150
    for number, address in enumerate(every):
        for name, program in programs.items():
            # Where no operator is asked for, an operator is a member; what strangers get, each route is asked without a server.
            is_new = address.startswith("/admin") if name == "operator" else name == "member" or number % 3 == 0
            if IS_RELEASE or is_new:
                check(program.get(address), address)
        for turn, method in enumerate(("POST", "OPTIONS", "HEAD")):
            # Each of them meets every address before a release, and one of them with every change.
            if IS_RELEASE or number % 3 == turn:
                check(programs["stranger"].request(method, address), address)
    for address in ("/nothing", "/api/nothing", "/admin/nothing/", "/dashboard/nothing", "/static"):
        check(programs["member"].get(address), address)
    check(programs["member"].get("/dashboard", headers={"Host": "evil.example"}), "/dashboard")
    check(
        programs["member"].post("/dashboard/team/new", headers={"Sec-Fetch-Site": "cross-site"}), "/dashboard/team/new"
    )
    check(programs["member"].post("/dashboard/team/new", data={"name": ""}), "/dashboard/team/new")
    with broken_table(sqlite_site, "teams_invitation"):
        for address in ("/dashboard/team/invites", f"/api/teams/{team_of(programs['member'])}/invitations"):
            failed = programs["member"].get(address)
            assert failed.status_code == 503
            check(failed, address)
    assert wrong == []
    severe = [finding for finding in judged(sorted(policies)) if finding["severity"] <= 40]
    assert severe == []
    record("E2", answers=count, policies=len(policies), missing=0, severe_findings=0)


def team_of(program):
    return program.get("/api/teams").json()[0]["team"]["id"]


def judged(policies):
    """What Google's CSP Evaluator says; severities up to 40 are syntax errors and the high and medium findings."""
    node = shutil.which("node", path=f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}")
    assert node, "scripts/frontend brings one"
    said = subprocess.run(
        [node, ROOT / "frontend/judge_policies.js"],
        input=json.dumps(policies),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert said.returncode == 0, said.stderr
    return [
        {"policy": policy, **one}
        for policy, found in zip(policies, json.loads(said.stdout), strict=True)
        for one in found
    ]


def test_the_judge_notices_a_loose_policy():
    """E2: or its silence would mean nothing."""
    assert any(one["severity"] == 10 for one in judged(["script-src * 'unsafe-inline'"]))


def test_the_style_of_drawings_is_the_one_that_is_built():
    """E2: the hash stands for the style inside the script that draws."""
    built = json.loads((BUILT / "plot-style.json").read_text())
    assert f"'{built['hash']}'" == plot_hash()
    rules = [line.strip() for line in built["style"].splitlines() if line.strip().endswith(";")]
    script = (BUILT / "charts.js").read_text()
    assert len(rules) > 3
    assert [rule for rule in rules if rule not in script] == []
    assert built["className"] in script


def test_static_files_are_files_and_nothing_else(sqlite_site, people):
    """E2: kept for ever under a name with a hash, part of no other site, and no page when opened by themselves."""
    stranger = people[0]["stranger"]
    found = set()
    for page in ("/", "/login", "/api/docs"):
        found |= set(re.findall(r'(?:href|src)="(/static/[^"]+)"', stranger.get(page).text))
    assert len(found) > 6
    for name in [*sorted(found), "/static/nothing.js", "/static/design/tokens.css"]:
        answer = stranger.get(name)
        assert answer.headers["x-content-type-options"] == "nosniff", name
        assert answer.headers["x-frame-options"] == "DENY", name
        assert answer.headers["cross-origin-resource-policy"] == "same-origin", name
        policy = parsed(answer.headers["content-security-policy"])
        assert policy["default-src"] == ["'none'"] and "sandbox" in policy and "script-src" not in policy, name
        wanted = "public, max-age=31536000, immutable" if name in found else ("no-cache", "no-store")
        assert answer.headers["cache-control"] in wanted, name
        assert "set-cookie" not in answer.headers


def test_what_the_gateway_says_is_no_page(sqlite_site, people):
    """E2: what a browser can get of it without a key: health, the API's description, every refusal; our own API always."""
    programs, key = people
    stranger = programs["stranger"]
    settings_of = {"AGENTCACHE_DATA_DIR": str(sqlite_site.folder)}
    from agentcache.settings import Settings

    dialects = settings_dialects(Settings.from_env(settings_of))
    answers = {target: stranger.get(target) for target in PUBLIC_TARGETS}
    for route in (*provider_routes(dialects), *native_routes()):
        answers[route.id] = stranger.request(route.method, route.target)
    for route in native_routes():
        given = {"json": route.body} if route.body else {}
        answers[f"{route.id} with a key"] = stranger.request(
            route.method, route.target, headers={"X-AgentCache-Key": key}, **given
        )
    assert len(answers) > 60
    wrong = [
        f"{name}: {answer.status_code}: {header} is {answer.headers.get(header)}"
        for name, answer in answers.items()
        for header, value in GATEWAY_TABLE.items()
        if answer.headers.get(header) != value
    ]
    assert wrong == []
    for name, answer in answers.items():
        assert "server" not in answer.headers, name
        assert answer.headers["content-type"].startswith(("application/json", "application/problem+json")), name
    record("E2 gateway", answers=len(answers), missing=0)
