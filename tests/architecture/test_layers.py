"""Who may import whom."""

import ast
import subprocess
import sys
import tomllib

from tests.architecture.repository import PACKAGE, ROOT, python_files, text_of

#: Layers that must never load a web framework, even by way of others.
DATA_PLANE = ("gateway", "engine", "providers", "kit", "settings")


def imported_names(path):
    for node in ast.walk(ast.parse(text_of(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_the_layers_of_pyproject_name_every_part_that_exists():
    contracts = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"]
    named = {layer.strip("()") for contract in contracts for layer in contract.get("layers", [])}
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert parts - {"__init__"} <= named


def test_nothing_imports_upwards():
    layers = tomllib.loads(text_of(ROOT / "pyproject.toml"))["tool"]["importlinter"]["contracts"][0]["layers"]
    height = {layer.strip("()"): -position for position, layer in enumerate(layers)}
    upwards = []
    for path in python_files("src"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imported_names(path):
            parts = name.split(".")
            if parts[0] == "agentcache" and len(parts) > 1 and part != "__init__" and height[parts[1]] > height[part]:
                upwards.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not upwards


def test_the_data_plane_runs_without_django():
    program = f"""
import importlib, pkgutil, sys
import agentcache
for part in {DATA_PLANE!r}:
    module = importlib.import_module(f"agentcache.{{part}}")
    for found in pkgutil.walk_packages(getattr(module, "__path__", []), module.__name__ + "."):
        importlib.import_module(found.name)
print(sorted(name for name in sys.modules if name.split(".")[0] in {{"django", "ninja", "pydantic_settings"}}))
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "[]"


def test_the_supervisor_stays_light():
    program = """
import sys
import agentcache.cli.app, agentcache.cli.serve, agentcache.supervisor.run, agentcache.supervisor.preflight
heavy = {"django", "uvicorn", "uvloop", "httpcore2", "redis", "psycopg", "msgspec", "structlog"}
print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "[]"


def test_a_server_loads_nothing_for_near_questions_that_it_has_not_nor_for_a_terminal():
    program = """
import sys
import agentcache.supervisor.server, agentcache.asgi
extra = {"numpy", "onnxruntime", "tokenizers", "sentence_transformers", "rich"}
print(sorted(extra & {name.split(".")[0] for name in sys.modules}))
"""
    finished = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == "[]"


def test_packages_never_import_the_server():
    found = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in python_files("packages")
        for name in imported_names(path)
        if name.split(".")[0] == "agentcache"
    ]
    assert not found


def test_only_settings_reads_the_environment():
    readers = {
        str(path.relative_to(PACKAGE))
        for path in python_files("src")
        for node in ast.walk(ast.parse(text_of(path)))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
        if isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert readers == {"settings.py"}
