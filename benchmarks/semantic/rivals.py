"""Rivals beside the verifier, each in its own way over the same vectors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.semantic.measuring import Floats, Rule

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-rivals"
#: RedisVL's SemanticCache serves up to a cosine distance of 0.1 unless told otherwise. Its server (Redis Stack) needs
#: OpenSSL 1.1; the rule is a comparison of that one number, so it is applied here without a server. Where one ran, it
#: decided 1,158 pairs as the rule does (docs/explanation/semantic-figures.md).
REDISVL_COSINE = 0.90
RULES = {"RedisVL's default: cosine ≥ .90": REDISVL_COSINE, "cosine ≥ .80": 0.80, "cosine ≥ .95": 0.95}


def rules(cosines: Floats) -> list[Rule]:
    """Return the rivals' rules on a set."""
    return [gptcache(cosines), *(Rule(name, cosines, threshold) for name, threshold in RULES.items())]


def gptcache(cosines: Floats) -> Rule:
    """Return GPTCache's scores for pairs with these cosines, from its own code."""
    _install()
    program = [str(VENV / "bin/python"), str(Path(__file__).with_name("gptcache_rule.py"))]
    given = json.dumps(list(map(float, cosines)))
    said = json.loads(subprocess.run(program, input=given, capture_output=True, text=True, check=True).stdout)
    return Rule("GPTCache's default", np.array(said["scores"]), said["threshold"])


def _install() -> None:
    stamp, wanted = VENV / "installed", (ROOT / "constraints/rivals.txt").read_text()
    if stamp.exists() and stamp.read_text() == wanted:
        return
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "--requirement", str(ROOT / "constraints/rivals.txt")], check=True)
    stamp.write_text(wanted)
