"""Rivals beside the verifier, each in its own way over the same vectors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.semantic.measuring import Floats, Rule
from training.embedding import VectorCache
from training.pairs import Pair

ROOT = Path(__file__).parents[2]
VENV = ROOT / ".venv-rivals"
#: RedisVL's SemanticCache serves up to a cosine distance of 0.1 unless told otherwise.
REDISVL_COSINE = 0.90
#: It takes 10 ms a pair; of a larger set its rule alone is applied, which is the same to some pairs in a thousand.
REDISVL_PAIRS_MAX = 30_000
COSINES = {"cosine ≥ .80": 0.80, "cosine ≥ .95": 0.95}


class Rivals:
    """What decides beside the verifier. `url` is that of a Redis with the query engine; without one RedisVL's rule is applied."""

    def __init__(self, cache: VectorCache, url: str) -> None:
        self._cache = cache
        self._url = url

    def rules(self, pairs: Sequence[Pair], cosines: Floats) -> list[Rule]:
        """Return the rivals' rules on a set."""
        naive = [Rule(name, cosines, threshold) for name, threshold in COSINES.items()]
        return [gptcache(cosines), self._redisvl(pairs, cosines), *naive]

    def _redisvl(self, pairs: Sequence[Pair], cosines: Floats) -> Rule:
        if not self._url or len(pairs) > REDISVL_PAIRS_MAX:
            return Rule("RedisVL's default, without its server: cosine ≥ .90", cosines, REDISVL_COSINE)
        _install()
        vectors = {name: self._cache.matrix([getattr(pair, name) for pair in pairs]) for name in ("stored", "asked")}
        with TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npz"
            np.savez(path, **vectors)
            program = [str(VENV / "bin/python"), str(Path(__file__).with_name("redisvl_rule.py")), self._url, str(path)]
            said = subprocess.run(program, capture_output=True, text=True, check=True).stdout
        # It decides, and tells no score.
        return Rule("RedisVL's default: SemanticCache, distance ≤ .1", np.array(json.loads(said), float), 0.5)


@contextmanager
def opened(cache: VectorCache) -> Iterator[Rivals]:
    """Yield the rivals, with a Redis of their own for as long as they are used, where one can be had."""
    program = [str(ROOT / ".venv/bin/python"), "-m", "benchmarks.semantic.query_engine"]
    # Its own environment: the tests', which has the server beside it.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    with subprocess.Popen(program, stdin=PIPE, stdout=PIPE, text=True, cwd=ROOT, env=environ) as running:
        assert running.stdout is not None and running.stdin is not None
        try:
            yield Rivals(cache, running.stdout.readline().strip())
        finally:
            running.stdin.close()


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
