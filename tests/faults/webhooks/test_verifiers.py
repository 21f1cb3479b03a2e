"""What we sign, checked by others: their library, and the programs of our how-to (W1, W2)."""

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.db import transaction
from standardwebhooks import Webhook, WebhookVerificationError

from agentcache.audit.services import Actor
from agentcache.kit.webhook_signing import shown_public_key, shown_secret, signed_headers
from agentcache.teams.secrets import current_secrets
from agentcache.webhooks import services
from agentcache.webhooks.models import Delivery
from agentcache.webhooks.services import NewEndpoint
from tests.support.reliability import record
from tests.support.webhooks import sample

ROOT = Path(__file__).parents[3]
HOW_TO = (ROOT / "docs" / "how-to" / "webhooks.md").read_text(encoding="utf-8")
_NODE_PROGRAM = """
const cases = JSON.parse(await new Response(process.stdin).text());
const said = cases.map(([secret, body, headers]) => isGenuine(secret, Buffer.from(body, "base64"), headers));
console.log(JSON.stringify(said));
"""


@pytest.fixture
def project(sqlite_project):
    return sqlite_project


@pytest.fixture
def made(team):
    new = NewEndpoint("https://hooks.example.com/in", ["cache.invalidated"])
    return services.create_endpoint(current_secrets(), team, new, actor=Actor.system())


def sent(team, now):
    """Return body and headers of a message as they go out at a time."""
    with transaction.atomic():
        message_id = services.emit(team.pk, "cache.invalidated", {**sample("cache.invalidated"), "reason": "naïve 🙂"})
    delivery = Delivery.objects.get(message_id=message_id)
    prepared = services.prepare_try(current_secrets(), delivery.pk, 0, now)
    timestamp = str(int(now.timestamp()))
    headers = signed_headers(prepared.secrets, prepared.message_id, timestamp, prepared.body, prepared.seeds)
    return prepared.body.encode(), {name.decode(): value.decode() for name, value in headers}


def tampered(body, headers):
    """Yield the message once for every byte of body, id and time, with that byte changed."""
    for place in range(len(body)):
        yield body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :], headers
    for name in ("webhook-id", "webhook-timestamp"):
        value = headers[name]
        for place in range(len(value)):
            changed = value[:place] + chr(ord(value[place]) ^ 1) + value[place + 1 :]
            yield body, {**headers, name: changed}


def by_library(secret, body, headers):
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def python_of_the_how_to():
    return program_of_the_how_to("is_genuine")["is_genuine"]


def program_of_the_how_to(name):
    [program] = [code for code in re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL) if f"def {name}(" in code]
    names = {}
    exec(program, names)
    return names


def by_node(cases):
    """Ask the how-to's JavaScript about many messages at once."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    node = shutil.which("node", path=path)
    assert node is not None, "there is no Node.js; scripts/frontend installs one"
    [program] = re.findall(r"```js\n(.*?)```", HOW_TO, re.DOTALL)
    given = [[secret, _base64(body), headers] for secret, body, headers in cases]
    finished = subprocess.run(
        [node, "--input-type=module", "--eval", program + _NODE_PROGRAM],
        input=json.dumps(given), capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def _base64(body):
    return base64.b64encode(body).decode()


def test_w1_valid_messages_pass_and_every_changed_byte_fails(team, made):
    body, headers = sent(team, datetime.now(UTC))
    wrong = list(tampered(body, headers))
    is_genuine = python_of_the_how_to()
    for verify in (by_library, is_genuine):
        assert verify(made.secret, body, headers)
        assert [verify(made.secret, *one) for one in wrong] == [False] * len(wrong)
    verdicts = by_node([(made.secret, body, headers), *((made.secret, *one) for one in wrong)])
    assert verdicts == [True] + [False] * len(wrong)
    record("W1", verifiers=3, changed_bytes=len(wrong), wrong_verdicts=0)


def test_w1_another_secret_and_an_old_message_fail(team, made):
    body, headers = sent(team, datetime.now(UTC))
    old_body, old_headers = sent(team, datetime.now(UTC) - timedelta(seconds=400))
    other = shown_secret(bytes(32))
    is_genuine = python_of_the_how_to()
    for verify in (by_library, is_genuine):
        assert not verify(other, body, headers)
        assert not verify(made.secret, old_body, old_headers)
    assert by_node([(other, body, headers), (made.secret, old_body, old_headers)]) == [False, False]


def test_w2_old_and_new_secret_fit_for_a_day_without_a_gap(team, made, monkeypatch):
    rotated = services.rotate_secret(current_secrets(), team, made.row.pk, actor=Actor.system())
    begin = datetime.now(UTC)
    gaps = 0
    for minutes in range(0, 25 * 60, 30):
        now = begin + timedelta(minutes=minutes)
        body, headers = sent(team, now)
        with monkeypatch.context() as patched:
            patched.setattr("standardwebhooks.webhooks.datetime", _clock_at(now))
            fits = [by_library(secret, body, headers) for secret in (made.secret, rotated.secret)]
            shuffled = {**headers, "webhook-signature": " ".join(reversed(headers["webhook-signature"].split(" ")))}
            again = [by_library(secret, body, shuffled) for secret in (made.secret, rotated.secret)]
        assert fits == again
        gaps += fits != ([True, True] if minutes < 24 * 60 else [False, True])
    assert gaps == 0
    record("W2", moments=50, gaps=gaps)


def by_public_key(shown, body, headers):
    """Ask the how-to's program for public keys, at the time of the message."""
    names = program_of_the_how_to("is_from_agentcache")
    with contextlib.suppress(ValueError):
        moment = int(headers["webhook-timestamp"])
        names["time"] = SimpleNamespace(time=lambda: moment)
    return names["is_from_agentcache"](shown, body, headers)


def test_w1_a_public_key_checks_what_it_cannot_sign(team, made):
    """Beside the secret's signature, only where it is wanted, and replaced with the secret."""
    _, plain_headers = sent(team, datetime.now(UTC))
    assert "v1a," not in plain_headers["webhook-signature"]
    assert services.public_keys(current_secrets(), made.row) == []
    edits = services.EndpointEdits(signs_with_key=True)
    row = services.change_endpoint(team, made.row.pk, edits, actor=Actor.system())
    (first,) = services.public_keys(current_secrets(), row)
    body, headers = sent(team, datetime.now(UTC))
    assert by_public_key(first, body, headers)
    wrong = list(tampered(body, headers))
    assert [by_public_key(first, *one) for one in wrong] == [False] * len(wrong)
    # Whoever knows the secret alone goes on as before, whatever else is in the header.
    is_genuine = python_of_the_how_to()
    assert by_library(made.secret, body, headers) and is_genuine(made.secret, body, headers)
    assert by_node([(made.secret, body, headers)]) == [True]
    # The secret does not lead to the key, nor one endpoint's key to another's.
    seed = base64.b64decode(made.secret.removeprefix("whsec_"))
    assert shown_public_key(seed) != first
    other = services.create_endpoint(
        current_secrets(), team, NewEndpoint("https://x.example/in", ["cache.invalidated"], signs_with_key=True),
        actor=Actor.system(),
    )  # fmt: skip
    assert services.public_keys(current_secrets(), other.row) != [first]
    services.delete_endpoint(team, other.row.pk, actor=Actor.system())
    services.rotate_secret(current_secrets(), team, row.pk, actor=Actor.system())
    second, former = services.public_keys(current_secrets(), row)
    assert former == first != second
    body, headers = sent(team, datetime.now(UTC))
    assert by_public_key(first, body, headers) and by_public_key(second, body, headers)
    body, headers = sent(team, datetime.now(UTC) + timedelta(hours=25))
    assert by_public_key(second, body, headers) and not by_public_key(first, body, headers)
    record("W1 public key", verifiers=1, changed_bytes=len(wrong), wrong_verdicts=0)


def _clock_at(moment):
    class Moved(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment.astimezone(tz)

    return Moved
