"""E3, E4: what pages of other sites can do to somebody who is signed in here: nothing."""

from __future__ import annotations

import hashlib
import re
import time
from urllib.parse import quote

import httpx2 as httpx
import pytest
from pysqlite3 import dbapi2 as sqlite3

from tests.support.browser.attacker import Attacker
from tests.support.browser.pages import addresses
from tests.support.browser.people import new_key, program_of
from tests.support.browser.visitor import Visitor
from tests.support.reliability import record
from tests.support.tiers import IS_RELEASE

# The first test waits for everything to be set up; a busy machine takes its time.
pytestmark = pytest.mark.timeout(400)

#: Rows that come and go by themselves.
VOLATILE = {
    "jobs_job",
    "dashboard_checkliststep",
    "quotas_monthlyuse",
    "django_session",
    "mails_mail",
    "analytics_usageevent",
    "analytics_usagerollup",
}
#: Columns that any visit moves: when somebody was here last, which team they looked at.
SEEN_AT = re.compile(r"last_(seen|used|login)|_at$|expire|^session_data$")
#: Goes through addresses with a few at work: browsers keep six connections to a host, and what waits for one of them is
#: given up on a busy machine before it was ever sent. Every step ends by itself.
EACH = """
  const each = async (addresses, act) => {
    const waiting = [...addresses.entries()];
    const work = async () => { while (waiting.length) await act(...waiting.shift()); };
    await Promise.all(Array.from({ length: 6 }, work));
  };
  const within = (seconds) => new Promise((settle) => setTimeout(settle, seconds * 1000));
"""
#: Sends what browsers let a page send to another site without asking; answers when all is done.
FORGE = f"""async ({{ site, addresses }}) => {{{EACH}
  await each(addresses, async (number, address) => {{
    const form = new URLSearchParams({{ name: "forged", email: "forged@example.com", theme: "dark", confirm: "on" }});
    const signal = () => AbortSignal.timeout(30000);
    const simple = {{ method: "POST", mode: "no-cors", credentials: "include", signal: signal() }};
    const text = {{ body: '{{"name": "forged"}}', headers: {{ "Content-Type": "text/plain" }} }};
    const sent = address.startsWith("/api/") ? text : {{ body: form }};
    await fetch(site + address, {{ ...simple, ...sent }}).catch(() => 0);
    if (address.startsWith("/api/")) {{
      const method = ["PUT", "PATCH", "DELETE"][number % 3];
      const forged = {{ method, mode: "cors", credentials: "include", body: '{{"name": "forged"}}', signal: signal() }};
      const wasStopped = await fetch(site + address, forged).then(() => false, () => true);
      if (!wasStopped) throw new Error(`${{method}} ${{address}} was let through`);
    }}
    const image = new Image();
    const loaded = new Promise((settle) => {{ image.onload = image.onerror = settle; }});
    image.src = site + address;
    await Promise.race([loaded, within(10)]);
    image.removeAttribute("src");
  }});
}}"""
#: Sends forms into frames; a frame that refuses to show the answer has sent the form all the same.
FORMS = f"""async ({{ site, addresses }}) => {{{EACH}
  await each(addresses, async (number, address) => {{
    const frame = document.body.appendChild(Object.assign(document.createElement("iframe"), {{ name: "f" + Math.random() }}));
    const form = document.createElement("form");
    Object.assign(form, {{ method: "post", action: site + address, target: frame.name }});
    form.append(Object.assign(document.createElement("input"), {{ name: "name", value: "forged" }}));
    document.body.append(form);
    const shown = new Promise((settle) => {{ frame.onload = settle; }});
    form.submit();
    await Promise.race([shown, within(10)]);
    frame.remove();
    form.remove();
  }});
}}"""


class Attacks:
    """What a window sends to a site by POST, as the browser's network says, which waits for no page.

    `Request.all_headers()` waits for ever for a request that was cut off before the browser told of its headers.
    """

    def __init__(self, page, site):
        self._page, self._site = page, site
        self._posts, self._cookies, self._answers = set(), set(), {}
        network = page.context.new_cdp_session(page)
        network.on("Network.requestWillBeSent", self._is_sent)
        network.on("Network.requestWillBeSentExtraInfo", self._has_headers)
        network.on("Network.responseReceivedExtraInfo", self._is_answered)
        network.send("Network.enable")

    def _is_sent(self, event):
        if event["request"]["method"] == "POST" and event["request"]["url"].startswith(self._site.url):
            self._posts.add(event["requestId"])

    def _has_headers(self, event):
        if any("agentcache_session" in text for name, text in event["headers"].items() if name.lower() == "cookie"):
            self._cookies.add(event["requestId"])

    def _is_answered(self, event):
        self._answers[event["requestId"]] = event["statusCode"]

    def settle(self, answers):
        """Wait for so many answers, and say what was sent, sent with a cookie, and answered."""
        until = time.monotonic() + 60
        while time.monotonic() < until and len(self._posts & self._answers.keys()) < answers:
            self._page.wait_for_timeout(50)
        answered = {self._answers[one] for one in self._posts & self._answers.keys()}
        return len(self._posts), len(self._posts & self._cookies), answered


@pytest.fixture(scope="module")
def attacker():
    with Attacker() as attacker:
        yield attacker


@pytest.fixture(scope="module")
def _ada(_turns, _browser, sqlite_site):
    with _turns.taken():
        ada = Visitor.of(_browser, sqlite_site, "ada").sign_up()
    yield ada
    with _turns.taken():
        ada.close()


@pytest.fixture
def ada(browser, _ada):
    """Somebody who is signed in, and comes to another site. What the browser says of attacks is no trouble of ours."""
    yield _ada
    _ada.troubles.clear()


@pytest.fixture(scope="module")
def targets(_turns, _ada, sqlite_site):
    """Every address, filled in with what is Ada's."""
    with _turns.taken():
        program = program_of(_ada)
    with program:
        team = program.get("/api/teams").json()[0]["team"]["id"]
        program.post("/api/keys", json={"name": "Hers"}).raise_for_status()
        keys = program.get("/api/keys").json()
        key = _first(keys)
        members = program.get(f"/api/teams/{team}/members").json()
        sessions = program.get("/api/account/sessions").json()
    ids = {
        "team_id": team, "api_key_id": key, "key_id": key, "member_id": members["members"][0]["id"],
        "session_id": _first(sessions),
    }  # fmt: skip
    every = [re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1], "1"), one) for one in addresses(sqlite_site)]
    assert len(set(every)) > 150
    return list(dict.fromkeys(every))


def _first(answer):
    rows = answer if isinstance(answer, list) else next(value for value in answer.values() if isinstance(value, list))
    return rows[0]["id"]


def snapshot(site):
    """What the records are, table by table, but for what moves by itself."""
    found = {}
    with sqlite3.connect(f"file:{site.folder / 'app.db'}?mode=ro", uri=True, timeout=60) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - VOLATILE:
            columns = [
                row[1] for row in database.execute(f'PRAGMA table_info("{table}")') if not SEEN_AT.search(row[1])
            ]
            if not columns or table.startswith("sqlite_"):
                continue
            chosen = ", ".join(f'"{name}"' for name in columns)
            rows = sorted(map(repr, database.execute(f'SELECT {chosen} FROM "{table}"')))
            found[table] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
    return found


def test_pages_of_other_sites_change_nothing(ada, sqlite_site, attacker, targets):
    """E3: forms, fetch, images; from another site, and from a sibling that browsers send the cookie for."""
    # Of most answers browsers tell only that they must not be read (Cross-Origin-Resource-Policy).
    attacks = Attacks(ada.page, sqlite_site)
    before = snapshot(sqlite_site)
    # The cookie comes along from the sibling only, so all addresses are for it, and some for the other site.
    for origin, chosen in ((attacker.sibling, targets), (attacker.stranger, targets[::4])):
        ada.page.goto(origin)
        ada.page.evaluate(FORGE, {"site": sqlite_site.url, "addresses": chosen})
        ada.page.evaluate(FORMS, {"site": sqlite_site.url, "addresses": chosen[::4]})
    posts, with_cookie, answered = attacks.settle(answers=len(targets))
    ada.page.goto("about:blank")
    assert snapshot(sqlite_site) == before
    assert posts > 1.25 * len(targets)
    assert with_cookie > len(targets) / 2, "too few requests had a cookie to abuse"
    assert answered == {403}
    assert ada.open("/dashboard/team/settings").locator("[name=name]").first.input_value() != "forged"
    record("E3 browser", addresses=len(targets), posts=posts, with_cookie=with_cookie, changes=0)


CLAIMS = {
    "nothing": {}, "a sibling": {"Sec-Fetch-Site": "same-site"}, "another site": {"Sec-Fetch-Site": "cross-site"},
    "an origin": {"Origin": "https://evil.example"}, "no origin": {"Origin": "null"},
    "a lookalike": {"Origin": "http://127.0.0.1"}, "a wrong word": {"Sec-Fetch-Site": "Same-Origin"},
}  # fmt: skip


def test_a_cookie_alone_changes_nothing(ada, sqlite_site, targets):
    """E3: a request that does not say where it comes from, or says somewhere else, is refused before anything is read."""
    cookies = {one["name"]: one["value"] for one in ada.page.context.cookies(sqlite_site.url)}
    before = snapshot(sqlite_site)
    refused = 0
    with httpx.Client(base_url=sqlite_site.url, cookies=cookies) as program:
        for number, address in enumerate(targets):
            others = ("PUT", "PATCH", "DELETE")
            # With every change, each address meets POST and one of the others.
            for method in ("POST", *(others if IS_RELEASE else others[number % 3 :][:1])):
                claims = list(CLAIMS.values()) if method == "POST" and number % 5 == 0 else [CLAIMS["nothing"]]
                for claim in claims:
                    answer = program.request(method, address, headers=claim, json={"name": "forged"})
                    assert answer.status_code == 403, (method, address, claim, answer.status_code)
                    refused += 1
        assert snapshot(sqlite_site) == before
        made = program.post("/api/teams", json={"name": "Hers"}, headers={"Sec-Fetch-Site": "same-origin"})
        assert made.status_code == 201
    assert snapshot(sqlite_site) != before, "the snapshot sees nothing"
    record("E3 requests", refused=refused, changes=0)


def test_keys_and_tokens_need_no_origin(ada, sqlite_site):
    """E3: what no page of another site can send is believed without."""
    key = new_key(ada)
    token = {one["name"]: one["value"] for one in ada.page.context.cookies(sqlite_site.url)}["agentcache_session"]
    entry = {"key": "some", "value": 1}
    with httpx.Client(base_url=sqlite_site.url) as program:
        for headers in ({}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            given = {"X-AgentCache-Key": key, **headers}
            assert program.post("/api/cache/set", json=entry, headers=given).status_code == 201
        assert program.get("/api/keys", headers={"X-AgentCache-Key": key}).status_code in (200, 403)
        answer = program.patch("/api/account/me", json={"name": "By token"}, headers={"X-Session-Token": token})
        assert answer.status_code == 200


FRAMED = ("/", "/login", "/signup", "/dashboard", "/dashboard/keys", "/settings/security", "/api/docs", "/admin/", "/nothing",
          "/healthz", "/api/openapi.json", "/api/account/me")  # fmt: skip


def test_no_page_shows_in_a_frame(ada, sqlite_site, attacker):
    """E4: neither to another site nor to a sibling."""
    for origin in (attacker.sibling, attacker.stranger):
        ada.page.goto(origin)
        ada.page.evaluate(
            """async (addresses) => {
              const kinds = [["iframe", "src"], ["object", "data"], ["embed", "src"]];
              await Promise.all(kinds.flatMap(([tag, attribute]) => addresses.map((address) => new Promise((settle) => {
                const one = document.createElement(tag);
                one.onload = one.onerror = settle;
                one.setAttribute(attribute, address);
                document.body.append(one);
                setTimeout(settle, 3000);
              }))));
            }""",
            [sqlite_site.url + path for path in FRAMED],
        )
        assert [frame.url for frame in ada.page.frames if frame.url.startswith(sqlite_site.url)] == [], origin
    ada.page.goto(sqlite_site.url)
    ada.page.evaluate("""() => new Promise((settle) => {
      const frame = Object.assign(document.createElement("iframe"), { src: location.href, onload: settle });
      document.body.append(frame);
      setTimeout(settle, 10000);
    })""")
    assert [frame.url for frame in ada.page.frames[1:] if frame.url.startswith(sqlite_site.url)] == []


def test_no_page_knows_who_opened_it(ada, sqlite_site, attacker):
    """E4: the one that opened it cannot steer it, and it cannot steer that one."""
    for origin, paths in (
        (attacker.sibling, ("/", "/dashboard", "/nothing")),
        (attacker.stranger, ("/login", "/signup")),
    ):
        for path in paths:
            ada.page.goto(origin)
            with ada.page.context.expect_page() as opened:
                ada.page.evaluate("address => { window.opened = window.open(address); }", sqlite_site.url + path)
            popup = opened.value
            popup.wait_for_load_state()
            assert popup.evaluate("window.opener") is None
            assert ada.page.evaluate("window.opened.closed") is True
            popup.close()


EVIL = (
    "//evil.example", "///evil.example", "////evil.example/x", "https://evil.example/", "http:evil.example", "https:/evil.example",
    "javascript:alert(1)", "JavaScript:alert(1)//", "/javascript:alert(1)//", "data:text/html,<script>alert(1)</script>", "/\\evil.example",
    "\\\\evil.example", "\\/evil.example", "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example",
    "//evil.example\\@127.0.0.1", "//127.0.0.1@evil.example", "@evil.example", ".evil.example", "/.//evil.example", "/..//evil.example",
    "//evil\u3002example", "/\u2028/evil.example", "//\u0000evil.example", "/%2F/evil.example", "%2F%2Fevil.example", "vbscript:x",
)  # fmt: skip


def test_nobody_is_led_away(ada, sqlite_site):
    """E4: every door that takes somebody back leads to a path of this server, as a browser reads it."""
    places = []
    with program_of(ada) as program, httpx.Client(base_url=sqlite_site.url) as stranger:
        for target in EVIL:
            asked = quote(target, safe="")
            doors = [
                program.get(f"{door}?next={asked}") for door in ("/login", "/signup", "/login/mfa", "/reauthenticate")
            ]
            doors += [
                stranger.get(f"{door}?next={asked}")
                for door in ("/admin/login/", "/login/mfa", "/dashboard", "/reauthenticate")
            ]
            doors.append(program.post("/preferences", data={"theme": "dark", "next": target}))
            doors.append(program.post("/preferences", data={"theme": "system"}, headers={"Referer": _sendable(target)}))
            doors.append(program.get("/admin/login/", params={"next": target}))
            proof = {"password": ada.password}
            if target in EVIL[:4]:
                doors.append(program.post(f"/reauthenticate?next={asked}", data=proof))
            places += [answer.headers["location"] for answer in doors if "location" in answer.headers]
            links = [re.findall(r'(?:href|action|value)="([^"]*evil[^"]*)"', answer.text) for answer in doors]
            places += [link for found in links for link in found if not link.startswith(("/login", "/signup"))]
    assert len(places) > 4 * len(EVIL)
    page = ada.open("/settings/profile")
    origins = page.evaluate("places => places.map((one) => new URL(one, location.href).origin)", places)
    away = [place for place, origin in zip(places, origins, strict=True) if origin != sqlite_site.url]
    assert away == []
    record("E4", targets=len(EVIL), answers=len(places), frames=len(FRAMED), led_away=0, framed=0)


def _sendable(target):
    return "".join(one for one in target if " " < one < "\x7f") or "x"
