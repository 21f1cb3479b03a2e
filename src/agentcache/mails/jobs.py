"""Sends queued mails."""

from __future__ import annotations

import asyncio
from functools import partial

from agentcache.jobs.database import DatabaseThreads
from agentcache.jobs.worker import GiveUp
from agentcache.kit.crypto import DecryptionFailed
from agentcache.kit.logs import get_logger
from agentcache.mails import services
from agentcache.mails.delivery import Delivery, message_of
from agentcache.mails.models import Mail, MailState
from agentcache.mails.smtp import MailNotSent
from agentcache.settings import Settings

#: A link in a mail is worth nothing after so long: then the mail is given up.
GIVE_UP_ATTEMPTS = 6
_log = get_logger(__name__)


class MailSending:
    """Does jobs of `services.SEND_MAIL`."""

    def __init__(self, threads: DatabaseThreads, delivery: Delivery, settings: Settings) -> None:
        self._threads = threads
        self._delivery = delivery
        self._settings = settings

    async def __call__(self, payload: dict[str, object]) -> None:
        """Send; raises `MailNotSent` when it may work later, `GiveUp` when it never will."""
        mail_id = str(payload.get("mail_id"))
        mail = await self._threads.run(partial(Mail.objects.filter(pk=mail_id, state=MailState.QUEUED).first))
        if mail is None:
            return  # sent by a worker that died before it could say so
        try:
            body = services.body_of(mail)
            if body is None:
                raise GiveUp("The mail has no text.")
            message = message_of(mail, body, self._settings)
        except (DecryptionFailed, ValueError) as error:
            await self._note(mail, type(error).__name__, is_final=True)
            raise GiveUp("The mail cannot be put together.") from error
        try:
            await asyncio.to_thread(self._delivery.deliver, message)
        except MailNotSent as error:
            is_final = error.is_final or mail.attempts + 1 >= GIVE_UP_ATTEMPTS
            await self._note(mail, error.reason, is_final=is_final)
            _log.warning("mail_not_sent", reason=error.reason[:100], attempt=mail.attempts + 1)
            if is_final:
                raise GiveUp("The mail was refused.") from error
            raise
        await self._threads.run(partial(services.note_sent, mail.pk))

    async def _note(self, mail: Mail, reason: str, *, is_final: bool) -> None:
        await self._threads.run(partial(services.note_failure, mail.pk, reason, is_final=is_final))
