"""What the exit code of `agentcache` means, and which error leads to which."""

from __future__ import annotations

from enum import IntEnum
from typing import Self

from agentcache.kit.errors import AgentCacheError, Forbidden, NotFound, Unauthenticated, Unavailable


class ExitCode(IntEnum):
    """Exit codes that scripts may rely on."""

    def __new__(cls, code: int, meaning: str) -> Self:
        """Keep the meaning beside the number."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    meaning: str

    OK = 0, "The command did what it says."
    FAILED = 1, "It did not; the line on standard error says why. `doctor`: at least one check failed."
    USAGE = 2, "The command line was wrong."
    CONFIGURATION = 3, "A setting is wrong, or something that the server needs is not as it must be."
    UNREACHABLE = 4, "The server, the database or the store cannot be reached."
    REFUSED = 5, "The API key is missing, unknown, revoked, or lacks the scope."
    NOT_FOUND = 6, "There is no such entry, key or team. `cache get`: a miss."
    INTERRUPTED = 130, "Ctrl-C."


#: By the code of an error first, then by its class.
_BY_CODE = {
    "invalid_setting": ExitCode.CONFIGURATION,
    "cannot_start": ExitCode.CONFIGURATION,
    "port_taken": ExitCode.CONFIGURATION,
    "secret_file_unusable": ExitCode.CONFIGURATION,
    "schema_too_new": ExitCode.CONFIGURATION,
    "schema_not_migrated": ExitCode.CONFIGURATION,
    "decryption_failed": ExitCode.CONFIGURATION,
    "server_unreachable": ExitCode.UNREACHABLE,
    "database_unreachable": ExitCode.UNREACHABLE,
    "store_unavailable": ExitCode.UNREACHABLE,
}
_BY_CLASS: dict[type, ExitCode] = {
    Unauthenticated: ExitCode.REFUSED,
    Forbidden: ExitCode.REFUSED,
    NotFound: ExitCode.NOT_FOUND,
    Unavailable: ExitCode.UNREACHABLE,
}


def exit_code_of(error: AgentCacheError) -> ExitCode:
    """Return the exit code for an error that reaches the command line."""
    if error.code in _BY_CODE:
        return _BY_CODE[error.code]
    kinds = (kind for kind in type(error).__mro__ if kind in _BY_CLASS)
    return _BY_CLASS.get(next(kinds, AgentCacheError), ExitCode.FAILED)
