"""One door to the outside (S12), and calls that have no place here (L8)."""

import ast
import re
from fnmatch import fnmatch

import pytest

from tests.architecture.repository import PACKAGE, python_files, text_of
from tests.support.reliability import record

HTTP_CLIENTS = (
    "httpx httpx2 httpcore httpcore2 requests niquests urllib3 aiohttp pycurl treq websockets websocket grpc "
    "urllib.request urllib.robotparser xmlrpc ftplib poplib imaplib telnetlib nntplib paramiko dns"
)
#: Module -> the files (below src/agentcache) that may import it.
MAY_IMPORT = {
    **dict.fromkeys(HTTP_CLIENTS.split(), ()),
    # The command line asks its own server on loopback; the standard library is enough for that.
    "http.client": ("kit/egress/own_api.py",),
    "redis": ("engine/stores/redis*.py", "jobs/queue.py"),
    # Listening, handing sockets to child processes, and the fake provider's resets.
    "socket": ("kit/egress/*.py", "supervisor/*.py", "cli/serve.py", "demo/fake_provider/wire.py"),
    # The mail server is the operator's own setting.
    "ssl": ("kit/egress/*.py", "mails/smtp.py"),
    **dict.fromkeys(("pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"), ()),
}
#: Whoever calls these opens a connection or looks a name up.
OPENING_CALLS = frozenset(
    "open_connection open_unix_connection create_connection create_unix_connection create_datagram_endpoint "
    "sock_connect connect_ex getaddrinfo gethostbyname getnameinfo urlopen urlretrieve start_tls".split()
)
#: (file, call) that are allowed all the same, with the reason.
MAY_OPEN = {
    ("supervisor/listening.py", "getaddrinfo"): "the address to listen on",
}
SECRET_NAME = re.compile(r"(?:^|_)(?:secret|token|password|passwd|signature|hmac|mac|pepper|api_key|key_hash)$")


def is_below(path, patterns):
    return any(fnmatch(path, pattern) for pattern in patterns)


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            yield from ((node.lineno, str(name.value)) for name in node.args[:1] if isinstance(name, ast.Constant))


def called(call):
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def forbidden_imports(path, tree):
    for line, name in imports(tree):
        for module, allowed in MAY_IMPORT.items():
            if (name == module or name.startswith(module + ".")) and not is_below(path, allowed):
                yield f"{path}:{line} imports {module}"


def opened_connections(path, tree):
    has_sockets = any(name == "socket" for _, name in imports(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or path.startswith("kit/egress/"):
            continue
        name = called(node)
        opens = name in OPENING_CALLS or (name == "connect" and has_sockets)
        if opens and (path, name) not in MAY_OPEN:
            yield f"{path}:{node.lineno} calls {name}"


def banned_calls(path, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            owner = (
                node.func.value.id
                if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name)
                else ""
            )
            name = f"{owner}.{called(node)}" if owner else called(node)
            is_builtin = isinstance(node.func, ast.Name) and name in {"eval", "exec", "compile", "__import__"}
            is_dangerous = name in {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
            if is_builtin or is_dangerous:
                yield f"{path}:{node.lineno} calls {name}"
            if any(word.arg == "shell" and getattr(word.value, "value", True) for word in node.keywords):
                yield f"{path}:{node.lineno} starts a shell"
        elif isinstance(node, ast.Compare) and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops):
            sides = [node.left, *node.comparators]
            constant = any(isinstance(side, ast.Constant) for side in sides)
            if not constant and any(SECRET_NAME.search(name_of(side)) for side in sides):
                yield f"{path}:{node.lineno} compares a secret with ==; use hmac.compare_digest"


def name_of(node):
    if isinstance(node, ast.Attribute):
        return node.attr.lower()
    if isinstance(node, ast.Call):
        return name_of(node.func)
    return getattr(node, "id", "").lower()


def inexact_arithmetic(path, tree):
    for node in ast.walk(tree):
        is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
        if is_float or (isinstance(node, ast.Name) and node.id == "float"):
            yield f"{path}:{node.lineno} uses a binary fraction"
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield f"{path}:{node.lineno} divides; use divmod or Decimal"


@pytest.fixture(scope="module")
def trees():
    """All source files, parsed once; let go after these tests."""
    found = {path.relative_to(PACKAGE).as_posix(): ast.parse(text_of(path)) for path in python_files("src")}
    assert len(found) > 20
    return found


@pytest.mark.parametrize(
    "check", [forbidden_imports, opened_connections, banned_calls], ids=lambda check: check.__name__
)
def test_the_source_has_no(check, trees):
    found = [one for path, tree in trees.items() for one in check(path, tree)]
    assert found == []
    # Without connections of anybody else's there is one door (S12); the rest must not be called at all (L8).
    scenario = "L8" if check is banned_calls else "S12"
    record(f"{scenario} {check.__name__.replace('_', ' ')}", violations=len(found), files=len(trees))


def test_money_is_exact(trees):
    assert list(inexact_arithmetic("kit/money.py", trees["kit/money.py"])) == []


def test_every_exception_is_still_needed(trees):
    calls = {
        (path, called(node)) for path, tree in trees.items() for node in ast.walk(tree) if isinstance(node, ast.Call)
    }
    assert set(MAY_OPEN) <= calls


@pytest.mark.parametrize(
    ("check", "code"),
    [
        (forbidden_imports, "import httpx"),
        (forbidden_imports, "import httpcore2._async.http11 as x"),
        (forbidden_imports, "from urllib.request import urlopen"),
        (forbidden_imports, "from urllib import request"),
        (forbidden_imports, "def f():\n    import requests"),
        (forbidden_imports, "import importlib\nimportlib.import_module('aiohttp.client')"),
        (forbidden_imports, "from redis.asyncio import Redis"),
        (forbidden_imports, "import socket"),
        (forbidden_imports, "import pickle"),
        (opened_connections, "import asyncio\nasyncio.open_connection('h', 1)"),
        (opened_connections, "async def f(loop):\n    await loop.create_connection(P, 'h', 1)"),
        (opened_connections, "import socket\nsocket.socket().connect(('h', 1))"),
        (banned_calls, "eval('1')"),
        (banned_calls, "exec(code)"),
        (banned_calls, "import os\nos.system('x')"),
        (banned_calls, "import yaml\nyaml.load(x)"),
        (banned_calls, "import subprocess\nsubprocess.run('x', shell=True)"),
        (banned_calls, "ok = row.key_hash == given"),
        (banned_calls, "ok = hash_it(x) != self.signature"),
        (banned_calls, "ok = new_token() == token"),
        (inexact_arithmetic, "x = 0.1"),
        (inexact_arithmetic, "x = float(y)"),
        (inexact_arithmetic, "x = y / 3"),
    ],
)
def test_the_checks_find_what_they_are_for(check, code):
    assert list(check("gateway/x.py", ast.parse(code)))


@pytest.mark.parametrize(
    ("check", "path", "code"),
    [
        (forbidden_imports, "kit/egress/connecting.py", "import socket, ssl"),
        (forbidden_imports, "engine/stores/redis_store.py", "import redis.asyncio"),
        (forbidden_imports, "gateway/x.py", "from urllib.parse import urlsplit\nimport requests_like"),
        (opened_connections, "kit/egress/x.py", "loop.create_connection(P)"),
        (opened_connections, "web/x.py", "signal.connect(receiver)"),
        (banned_calls, "gateway/x.py", "import re\nre.compile('x')\nok = token == ''\nyaml.safe_load(x)"),
        (banned_calls, "gateway/x.py", "subprocess.run(['x'], shell=False)"),
        (inexact_arithmetic, "kit/money.py", "x, y = divmod(a, 3)\nz = a // 2"),
    ],
)
def test_the_checks_leave_the_rest_alone(check, path, code):
    assert not list(check(path, ast.parse(code)))
