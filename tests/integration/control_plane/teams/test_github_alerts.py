"""Alerts of GitHub's secret scanning: signed ones end keys, others nothing; the list of keys comes from a real server."""

import base64
import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from django.conf import settings as django_conf

from agentcache.kit.api_keys import new_api_key
from agentcache.settings import Settings
from agentcache.teams.models import ApiKey
from agentcache.teams.secrets import current_secrets
from agentcache.teams.services import create_api_key, github_alerts
from tests.support.sessions import stranger
from tests.support.teams import join, mails_of, make_team

PLACE = "https://github.com/octo/repo/blob/main/config.py"


class GitHub:
    """Publishes a key and signs with it."""

    def __init__(self):
        self.private = generate_private_key(SECP256R1())
        self.reads = 0
        self.status = 200
        github = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                github.reads += 1
                body = json.dumps({"public_keys": github.published()}).encode()
                self.send_response(github.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/meta/public_keys/secret_scanning"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def pem(self):
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def identifier(self):
        return hashlib.sha256(self.pem.encode()).hexdigest()

    def published(self):
        return [{"key_identifier": self.identifier, "key": self.pem, "is_current": True}]

    def headers(self, body, **changed):
        signature = base64.b64encode(self.private.sign(body, ECDSA(SHA256()))).decode()
        named = {"Github-Public-Key-Identifier": self.identifier, "Github-Public-Key-Signature": signature}
        return {**named, **changed}

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def github():
    running = GitHub()
    yield running
    running.close()


@pytest.fixture
def configured(project, github, monkeypatch):
    given = {
        "AGENTCACHE_DATA_DIR": str(project.data_dir),
        "AGENTCACHE_GITHUB_SCANNING_KEYS_URL": github.url,
        "AGENTCACHE_EGRESS_ALLOW": "127.0.0.1",
    }
    monkeypatch.setattr(django_conf, "AGENTCACHE", Settings.from_env(given))
    monkeypatch.setattr(github_alerts._Known, "keys", None)


@pytest.fixture
def made(project):
    secrets, team = current_secrets(), make_team()
    admin = join(team, "admin@example.com", "admin")
    return create_api_key(secrets, team, "Found", created_by=admin.user, is_shared=False)


def alert(token, **more):
    return {"token": token, "type": "agentcache_api_key", "url": PLACE, "source": "content", **more}


def post(github, alerts, **changed):
    body = json.dumps(alerts).encode()
    headers = github.headers(body, **changed) if github is not None else changed
    return stranger().generic("POST", "/api/keys/leaked/github", body, "application/json", headers=headers)


@pytest.mark.usefixtures("configured")
def test_a_signed_alert_ends_our_key_and_says_which_were_ours(github, made):
    unknown = new_api_key()
    answer = post(github, [alert(made.api_key), alert(unknown), alert("NMIfyYncKcRALEXAMPLE")])
    assert answer.status_code == 200, answer.content
    assert answer.json() == [
        {"token_raw": made.api_key, "token_type": "agentcache_api_key", "label": "true_positive"},
        {"token_raw": unknown, "token_type": "agentcache_api_key", "label": "false_positive"},
        {"token_raw": "NMIfyYncKcRALEXAMPLE", "token_type": "agentcache_api_key", "label": "false_positive"},
    ]
    assert ApiKey.objects.get(pk=made.row.pk).revoked_because == "leaked"
    [mail] = mails_of("api-key-leaked")
    assert mail.to == "admin@example.com"
    from agentcache.mails.services import body_of

    assert PLACE in body_of(mail).text
    # Again, from another scanner: still ours, and nobody is told twice.
    assert post(github, [alert(made.api_key)]).json()[0]["label"] == "true_positive"
    assert len(mails_of("api-key-leaked")) == 1
    assert github.reads == 1


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("what", ["body", "signature", "garbage", "no signature", "identifier", "stranger", "curve"])
def test_what_github_did_not_sign_ends_nothing(github, made, what):
    alerts = [alert(made.api_key)]
    changed = {
        "signature": {"Github-Public-Key-Signature": base64.b64encode(b"0" * 70).decode()},
        "garbage": {"Github-Public-Key-Signature": "***"},
        "no signature": {"Github-Public-Key-Signature": ""},
        "identifier": {"Github-Public-Key-Identifier": "0" * 64},
    }.get(what, {})
    if what == "body":
        answer = post(github, alerts, **github.headers(json.dumps([alert("x")]).encode()))
    elif what == "stranger":
        other = generate_private_key(SECP256R1())
        signature = base64.b64encode(other.sign(json.dumps(alerts).encode(), ECDSA(SHA256()))).decode()
        answer = post(github, alerts, **{"Github-Public-Key-Signature": signature})
    elif what == "curve":
        github.private = generate_private_key(SECP384R1())
        answer = post(github, alerts)
    else:
        answer = post(github, alerts, **changed)
    assert (answer.status_code, answer.json()["code"]) == (401, "alert_not_signed")
    assert ApiKey.objects.get(pk=made.row.pk).revoked_at is None
    assert not mails_of("api-key-leaked")


@pytest.mark.usefixtures("configured")
def test_made_up_identifiers_do_not_have_the_list_read_again_and_are_limited(github, made):
    statuses = [
        post(github, [], **{"Github-Public-Key-Identifier": f"{number:064x}"}).status_code for number in range(40)
    ]
    assert set(statuses) == {401, 429}
    assert github.reads == 1
    # GitHub itself is not kept out by that.
    assert post(github, [alert(made.api_key)]).status_code == 200


@pytest.mark.usefixtures("configured")
def test_a_new_key_is_found_and_a_list_that_is_away_does_not_forget_the_old_one(github, made, monkeypatch):
    assert post(github, []).json() == []
    github.private = generate_private_key(SECP256R1())
    monkeypatch.setattr(github_alerts, "AGAIN_SECONDS", 0.0)
    assert post(github, []).status_code == 200
    github.status = 500
    monkeypatch.setattr(github_alerts, "KEYS_SECONDS", 0.0)
    assert post(github, []).status_code == 200
    assert github.reads == 3
    monkeypatch.setattr(github_alerts._Known, "keys", None)
    assert post(github, []).status_code == 503


@pytest.mark.usefixtures("configured")
@pytest.mark.parametrize("body", [{"token": "x"}, [{"url": "x"}], ["x"], [alert("x")] * 1001])
def test_a_signed_body_that_is_no_list_of_alerts_is_refused(github, body):
    assert (post(github, body).status_code, post(github, body).json()["code"]) == (400, "alert_malformed")


def test_without_the_setting_there_is_no_such_route(project):
    assert post(None, []).status_code == 404
