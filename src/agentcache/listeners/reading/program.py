"""The process that reads documents: questions on standard input, answers on standard output, one after the other.

python -m agentcache.listeners.reading.program
"""

from __future__ import annotations

import resource
import sys
import warnings
from typing import BinaryIO, Final, assert_never

from agentcache.listeners.reading.errors import NotReadable
from agentcache.listeners.reading.messages import (
    LENGTH_BYTES,
    Answer,
    CheckSelector,
    CompareTexts,
    JudgeRobots,
    Question,
    ReadDocument,
    Reading,
    Unreadable,
    decode_question,
    encode,
)

#: Of address space; what a document of 5 MiB needs at most is about a tenth.
MEMORY_BYTES_MAX: Final = 1024 * 1024 * 1024


def answer(asked: Question) -> Answer:
    """Return the answer to one question."""
    try:
        return _answer(asked)
    except NotReadable as error:
        return Unreadable(str(error))
    except MemoryError:
        return Unreadable("The document takes too much memory to read.")
    except RecursionError:
        return Unreadable("The document is nested too deeply.")
    except Exception as error:  # noqa: BLE001 - other people's documents find every fault of every package
        return Unreadable(f"The document cannot be read ({type(error).__name__}).")


def _answer(asked: Question) -> Answer:
    match asked:
        case ReadDocument():
            from agentcache.listeners.reading.documents import read

            return read(asked)
        case CompareTexts():
            from agentcache.listeners.reading.differences import compare

            return compare(asked.before, asked.after, is_list=asked.is_list)
        case JudgeRobots():
            from agentcache.listeners.reading.robots import judge

            return judge(asked.text, asked.url, asked.agent)
        case CheckSelector():
            from agentcache.listeners.reading.documents import check_selector

            check_selector(asked.selector)
            return Reading("", "", b"")
        case _:
            assert_never(asked)


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more questions, or nobody wants answers."""
    while len(head := questions.read(LENGTH_BYTES)) == LENGTH_BYTES:
        body = questions.read(int.from_bytes(head, "big"))
        reply = encode(answer(decode_question(body)))
        answers.write(len(reply).to_bytes(LENGTH_BYTES, "big") + reply)
        answers.flush()


def main() -> None:
    """Serve standard input, with bounded memory. Nothing else is said: packages warn of what documents hold."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
