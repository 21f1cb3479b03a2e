"""What somebody who is signed in can do beside their browser, as a program that has the browser's cookies."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import httpx2 as httpx

from tests.support.browser.visitor import Visitor


def program_of(visitor: Visitor, **headers: str) -> httpx.Client:
    """Return a client that acts as the visitor's browser does; the headers are added, or take the place of the usual."""
    cookies = {one["name"]: one["value"] for one in visitor.page.context.cookies()}
    given = {"Sec-Fetch-Site": "same-origin", **headers}
    return httpx.Client(base_url=visitor.site.url, cookies=cookies, headers=given, timeout=60)


def join(visitor: Visitor, team_owner: Visitor, name: str = "", team_id: str = "") -> None:
    """Make somebody a plain member of another's team, their only one unless it is given, and sign them in."""
    with program_of(team_owner) as program:
        team_id = team_id or program.get("/api/teams").json()[0]["team"]["id"]
        invitation = {"email": visitor.email, "role": "member"}
        program.post(f"/api/teams/{team_id}/invitations", json=invitation).raise_for_status()
    link = urlsplit(visitor.site.mail(visitor.email, "invite").link).path
    form = {"password": visitor.password, "name": name}
    answer = httpx.post(f"{visitor.site.url}{link}", data=form, headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 302, answer.text
    visitor.sign_in()
    with program_of(visitor) as program:
        program.post("/dashboard/team/switch", data={"team": team_id})


def make_operator(visitor: Visitor) -> None:
    """Make somebody who is signed in an operator, by the link that the command prints."""
    printed = visitor.site.server.run("operators", "invite", "--json")
    visitor.open(urlsplit(json.loads(printed.stdout)["url"]).path)
    visitor.page.locator("main form button").click()
    visitor.page.wait_for_url("**/admin/")


def new_key(visitor: Visitor, name: str = "Key") -> str:
    """Make an API key of the visitor's team and return its value."""
    with program_of(visitor) as program:
        answer = program.post("/api/keys", json={"name": name})
        answer.raise_for_status()
        return str(answer.json()["api_key"])
