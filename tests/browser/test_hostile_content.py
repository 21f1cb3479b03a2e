"""E1, E8: whatever somebody wrote is shown as text on every page, and no page asks another host for anything."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.support.browser.hostile import COUNT, LIVE_PARTS, payloads
from tests.support.browser.pages import page_addresses
from tests.support.browser.people import join, make_operator
from tests.support.browser.planting import Planting
from tests.support.browser.visitor import Visitor
from tests.support.browser.walk import Walk
from tests.support.reliability import record

# The first test waits for everything to be set up; a busy machine takes its time.
pytestmark = pytest.mark.timeout(400)

#: Addresses that the walk does not come to, and why that is right.
NOT_WALKED = {
    "/accounts/oidc/{provider_id}/login/": "leads to a provider, which this server has none of",
    "/accounts/oidc/{provider_id}/login/callback/": "for whoever comes back from a provider",
    "/settings/passkeys/{passkey_id}": "needs a passkey",
    "/settings/passkeys/{passkey_id}/remove": "needs a passkey",
    "/settings/security/providers/{link_id}/remove": "needs a provider, which this server has none of",
    "/settings/sessions/{session_id}/end": "takes a form only",
    "/dashboard/team/invites/{invitation_id}/resend": "takes a form only",
    "/dashboard/team/invites/{invitation_id}/cancel": "takes a form only",
    "/dashboard/team/logo/{team_id}/{digest}": "a picture, loaded by pages",
    "/dashboard/keys/{key_id}/env": "takes a form only",
    "/dashboard/credentials/{provider}/test": "takes a form only",
    "/dashboard/prewarm/schedules/{schedule_id}/pause": "takes a form only",
    "/dashboard/prewarm/schedules/{schedule_id}/run": "takes a form only",
    "/dashboard/prewarm/{batch_id}/run": "takes a form only",
    "/dashboard/jobs/{task_id}/cancel": "takes a form only",
    "/dashboard/policies/versions/{number}/restore": "takes a form only",
    "/dashboard/policies/{policy_id}/move": "takes a form only",
    "/dashboard/semantic/hits/{request_id}/report": "takes a form only",
    "/dashboard/semantic/quarantine/{entry_key}/release": "takes a form only",
    "/dashboard/webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver": "takes a form only",
    "/dashboard/webhooks/{endpoint_id}/redeliver": "takes a form only",
    "/dashboard/webhooks/{endpoint_id}/switch": "takes a form only",
    "/dashboard/webhooks/{endpoint_id}/test": "takes a form only",
    "/dashboard/listeners/{listener_id}/check": "takes a form only",
    "/dashboard/listeners/{listener_id}/pause": "takes a form only",
    "/dashboard/listeners/{listener_id}/resume": "takes a form only",
    "/dev/mail/{mail_id}": "not there behind a proxy; mails are opened by themselves below",
    "/dev/mail/{mail_id}/html": "not there behind a proxy; mails are opened by themselves below",
    "/setup/{token}": "the link was used to begin this walk",
    "/admin/r/{content_type_id}/{object_id}/": "nothing in the console has an address of its own elsewhere",
    "/admin/{url}": "leads to the same address with a slash",
}
#: Of the console, which shows rows and changes few: what is not linked to is not there for operators either.
_CONSOLE_ENDS = ("/delete/", "/{object_id}/", "/add/", "/history/", "/change/")


@pytest.fixture(scope="module")
def walked(_turns, _browser, sqlite_site):
    """An operator's walk through everything, after hostile text was put everywhere; and a stranger's."""
    with _turns.taken():
        ada = Visitor.of(_browser, sqlite_site, "hostile").sign_up()
        make_operator(ada)
        ada.page.goto("about:blank")
        planting = Planting(ada)
        planting.everywhere()
        planting.wait_until_counted()
        bob = Visitor.of(_browser, sqlite_site, "bob")
        join(bob, ada, payloads()[10], planting.team_id)
        patterns = page_addresses(sqlite_site)
        walk = Walk(ada, patterns)
        walk.start(address for address in patterns if "{" not in address)
        stranger = Walk(Visitor.of(_browser, sqlite_site, "stranger"), patterns, is_signed_in=False)
        invitation = urlsplit(sqlite_site.mail(bob.email, "invite").link).path
        stranger.start([*(address for address in patterns if "{" not in address), invitation])
    yield planting, walk, stranger
    with _turns.taken():
        for visitor in (ada, bob, stranger.visitor):
            visitor.close()


def test_hostile_text_is_text_on_every_page(walked, sqlite_site):
    """E1: nothing runs, nothing could, and the policy had nothing to stop."""
    planting, walk, stranger = walked
    assert len(payloads()) == len(set(payloads())) == COUNT
    assert planting.taken["calls"] == COUNT
    assert sum(planting.taken.values()) > 3 * COUNT
    for one in (walk, stranger):
        assert one.live == []
        assert one.dialogs == []
        assert one.visitor.troubles == []
    shown = {
        place: [seen.address for seen in walk.seen if text in seen.text] for place, text in planting.sample.items()
    }
    assert [place for place, addresses in shown.items() if not addresses] == [], "planted, and never seen"
    assert [seen.address for seen in walk.seen if seen.status >= 500] == []
    record(
        "E1", payloads=COUNT, planted=sum(planting.taken.values()), refused=sum(planting.refused.values()),
        pages=len(walk.seen) + len(stranger.seen), runs=0, reports=0,
    )  # fmt: skip


def test_the_walk_comes_to_every_page(walked, sqlite_site):
    """E1: a page that nobody looked at proves nothing."""
    _, walk, stranger = walked
    seen = {one.pattern for one in (*walk.seen, *stranger.seen)}
    missing = {
        address for address in page_addresses(sqlite_site)
        if address not in seen | NOT_WALKED.keys() and not (address.startswith("/admin/") and address.endswith(_CONSOLE_ENDS))
    }  # fmt: skip
    assert missing == set()
    assert seen & NOT_WALKED.keys() == set(), "the list excuses pages that are seen"
    changed = [one for one in seen if one.startswith("/admin/") and one.endswith("/change/")]
    assert len(changed) > 5


def test_files_are_files(walked):
    """E1: what is downloaded is kept as a file, and opens nothing in a spreadsheet."""
    _, walk, _ = walked
    files = [one for one in walk.seen if one.is_download and one.status == 200]
    assert len(files) > 3
    for one in files:
        assert one.headers["content-disposition"].startswith("attachment"), one.address
        assert one.headers["x-content-type-options"] == "nosniff"
        if "csv" in one.headers["content-type"]:
            cells = [cell for line in one.text.splitlines() for cell in line.split(",")]
            assert [cell for cell in cells if cell.strip('"')[:1] in ("=", "@", "+")] == [], one.address


def test_no_page_asks_another_host(walked, sqlite_site):
    """E8: with the network closed but for us, every page is whole."""
    _, walk, stranger = walked
    requests = walk.visitor.requests + stranger.visitor.requests
    foreign = [one for one in requests if not one.startswith((f"{sqlite_site.url}/", "data:", "blob:"))]
    assert foreign == []
    assert len(requests) > 300
    pages = [one for one in (*walk.seen, *stranger.seen) if one.status == 200 and "html" in one.headers["content-type"]]
    assert [one.address for one in pages if not one.text] == []
    record("E8", pages=len(pages), requests=len(requests), foreign_requests=0)


def test_mails_show_hostile_text_as_text(browser, walked, sqlite_site):
    """E1: in a mail program that runs everything, too."""
    planting, _, _ = walked
    letters = sqlite_site.letters(planting.visitor.email)
    assert {"script", "onerror"} <= {
        word for letter in letters for word in ("script", "onerror") if word in letter.text
    }
    page = browser.new_page()
    for letter in letters:
        page.set_content(letter.html, wait_until="commit")
        assert page.evaluate(LIVE_PARTS) == [], letter.subject
    assert page.evaluate("window.__xss ?? null") is None
    page.close()


def test_lists_that_renew_themselves_show_hostile_text_too(browser, walked):
    """E1: htmx takes an answer in which somebody's words look like scripts, and puts them there as text."""
    planting, walk, _ = walked
    page = walk.visitor.open("/dashboard/requests")
    for text in ("<img src=x onerror=__xss=5>", "<a href=javascript:__xss=31>a</a>", "<script>__xss=1</script>"):
        page.locator("[name=agent]").fill(text)
        page.locator("[name=agent]").blur()
        expect(page.locator("#results .chip")).to_contain_text(text)
        expect(page.locator("#results tbody tr")).to_have_count(1)
        assert page.evaluate(LIVE_PARTS) == []
    assert page.evaluate("window.__xss ?? null") is None
    assert planting.visitor.troubles == []
