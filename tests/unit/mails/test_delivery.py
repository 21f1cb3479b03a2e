"""Out through a real SMTP server, and what it may answer; or into the folder of a laptop."""

import email
import email.policy
import ssl

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from agentcache.jobs.worker import GiveUp
from agentcache.mails import services
from agentcache.mails.delivery import Outbox, message_of
from agentcache.mails.jobs import GIVE_UP_ATTEMPTS, MailSending
from agentcache.mails.models import Mail, MailState
from agentcache.mails.smtp import MailNotSent, SMTPServer
from agentcache.settings import Settings
from tests.support.certificates import TestAuthority
from tests.support.guarded import free_port


class Receiver:
    """Takes mails, or says what it is told to."""

    def __init__(self):
        self.mails = []
        self.answer = "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - aiosmtpd's name
        if not self.answer.startswith("250"):
            return self.answer
        envelope.rcpt_tos.append(address)
        return self.answer

    async def handle_DATA(self, server, session, envelope):  # noqa: N802
        self.mails.append((session.ssl is not None, envelope))
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    is_right = (data.login, data.password) == (b"cache", b"p@ss word")
    return AuthResult(success=is_right, handled=is_right)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def receiver():
    return Receiver()


@pytest.fixture
def smtp(receiver, authority):
    """Start a server with these options; returns its port."""
    running = []

    def start(**options):
        controller = Controller(receiver, hostname="127.0.0.1", port=free_port(), **options)
        controller.start()
        running.append(controller)
        return controller.port

    yield start
    for controller in running:
        controller.stop()


@pytest.fixture
def mail(greeting):
    services.send("greeting", "ada@example.com", {"name": "Ada", "link": "https://x/1"})
    return Mail.objects.get()


@pytest.fixture
def settings(tmp_path):
    return Settings.from_env({
        "AGENTCACHE_DATA_DIR": str(tmp_path / "data"), "AGENTCACHE_PUBLIC_URL": "https://cache.example.com",
        "AGENTCACHE_MAIL_FROM": "Cachè <cache@example.com>",
    })  # fmt: skip


async def sent(threads, mail, delivery, settings):
    await MailSending(threads, delivery, settings)({"mail_id": mail.pk})
    return await threads.run(lambda: Mail.objects.get(pk=mail.pk))


async def test_a_mail_reaches_the_server_with_both_texts(smtp, receiver, mail, threads, settings):
    after = await sent(threads, mail, SMTPServer(f"smtp://127.0.0.1:{smtp()}"), settings)
    assert after.state == MailState.SENT
    [(_, envelope)] = receiver.mails
    received = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert envelope.rcpt_tos == ["ada@example.com"]
    assert received["From"].addresses[0].addr_spec == "cache@example.com"
    assert received["Message-ID"] == f"<{mail.pk}@cache.example.com>"
    assert "https://x/1" in received.get_body(["plain"]).get_content()
    assert "<p>Hi Ada</p>" in received.get_body(["html"]).get_content()


async def test_a_mail_sent_already_is_not_sent_again(smtp, receiver, mail, threads, settings):
    delivery = SMTPServer(f"smtp://127.0.0.1:{smtp()}")
    await sent(threads, mail, delivery, settings)
    await sent(threads, mail, delivery, settings)
    assert len(receiver.mails) == 1


@pytest.mark.parametrize("query", ["", "?starttls"], ids=["offered", "demanded"])
async def test_the_line_is_encrypted_and_the_password_only_then_told(
    smtp, receiver, authority, mail, threads, settings, query
):
    port = smtp(tls_context=authority.server("127.0.0.1"), authenticator=authenticate, auth_required=True)
    delivery = SMTPServer(f"smtp://cache:p%40ss%20word@127.0.0.1:{port}{query}", authority.trusting())
    assert (await sent(threads, mail, delivery, settings)).state == MailState.SENT
    assert [encrypted for encrypted, _ in receiver.mails] == [True]


async def test_a_server_that_we_do_not_trust_gets_nothing(smtp, receiver, authority, mail, threads, settings):
    port = smtp(tls_context=authority.server("127.0.0.1"), authenticator=authenticate, auth_required=True)
    delivery = SMTPServer(f"smtp://cache:p%40ss%20word@127.0.0.1:{port}", ssl.create_default_context())
    with pytest.raises(MailNotSent, match="SSLCertVerificationError"):
        await sent(threads, mail, delivery, settings)
    assert receiver.mails == []


async def test_without_encryption_where_it_is_demanded_nothing_is_sent(smtp, receiver, mail, threads, settings):
    with pytest.raises(MailNotSent):
        await sent(threads, mail, SMTPServer(f"smtp://127.0.0.1:{smtp()}?starttls"), settings)
    assert receiver.mails == []


async def test_a_wrong_password_waits_for_the_operator(smtp, authority, mail, threads, settings):
    port = smtp(tls_context=authority.server("127.0.0.1"), authenticator=authenticate, auth_required=True)
    with pytest.raises(MailNotSent, match="535"):
        await sent(threads, mail, SMTPServer(f"smtp://cache:wrong@127.0.0.1:{port}", authority.trusting()), settings)
    assert (await threads.run(Mail.objects.get)).state == MailState.QUEUED


async def test_a_refusal_for_now_is_tried_again_and_one_for_good_is_not(smtp, receiver, mail, threads, settings):
    delivery = SMTPServer(f"smtp://127.0.0.1:{smtp()}")
    receiver.answer = "450 mailbox busy"
    with pytest.raises(MailNotSent):
        await sent(threads, mail, delivery, settings)
    now = await threads.run(Mail.objects.get)
    assert (now.state, now.last_error, now.attempts) == (MailState.QUEUED, "450 mailbox busy", 1)
    receiver.answer = "550 no such user"
    with pytest.raises(GiveUp):
        await sent(threads, mail, delivery, settings)
    now = await threads.run(Mail.objects.get)
    assert (now.state, now.last_error) == (MailState.FAILED, "550 no such user")


async def test_a_server_that_is_away_for_too_long_ends_the_tries(mail, threads, settings):
    delivery = SMTPServer(f"smtp://127.0.0.1:{free_port()}")
    for _ in range(GIVE_UP_ATTEMPTS - 1):
        with pytest.raises(MailNotSent, match="ConnectionRefusedError"):
            await sent(threads, mail, delivery, settings)
    with pytest.raises(GiveUp):
        await sent(threads, mail, delivery, settings)
    assert (await threads.run(Mail.objects.get)).state == MailState.FAILED


async def test_without_a_server_the_mail_lies_in_the_outbox(mail, threads, settings, tmp_path):
    after = await sent(threads, mail, Outbox(tmp_path / "outbox"), settings)
    assert after.state == MailState.SENT
    [path] = (tmp_path / "outbox").iterdir()
    assert path.suffix == ".eml" and path.stat().st_mode & 0o077 == 0
    received = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert received["To"] == "ada@example.com"
    assert "https://x/1" in received.get_body(["plain"]).get_content()


def test_a_check_says_what_is_wrong(smtp):
    SMTPServer(f"smtp://127.0.0.1:{smtp()}").check()
    with pytest.raises(MailNotSent, match="ConnectionRefusedError"):
        SMTPServer(f"smtp://127.0.0.1:{free_port()}").check()


def test_a_stranger_with_a_line_break_in_the_address_is_no_header(mail, settings):
    mail.to = "ada@example.com\r\nBcc: eve@example.com"
    with pytest.raises(ValueError, match="linefeed"):
        message_of(mail, services.Body("t", "h"), settings)
