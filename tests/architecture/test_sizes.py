"""Files and functions stay small enough to be read at once."""

import ast

from tests.architecture.repository import ROOT, python_files, text_of

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60


def test_no_file_is_longer_than_500_lines():
    found = {
        path: text_of(path).count("\n") for path in python_files("src", "tests", "scripts", "benchmarks", "packages")
    }
    too_long = {str(path.relative_to(ROOT)): lines for path, lines in found.items() if lines > FILE_LINES_MAX}
    assert found
    assert not too_long


def test_no_function_is_longer_than_60_lines():
    too_long = {}
    for path in python_files("src", "tests", "scripts", "benchmarks", "packages"):
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    too_long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert not too_long
