"""RedisVL's own decision for pairs of vectors, run in `.venv-rivals`: `python redisvl_rule.py URL VECTORS.npz`, decisions out as JSON.

Its `SemanticCache` is used as it is, at its default threshold. Each pair is stored and asked for under a tag of its own, so that no
other pair answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from redisvl.extensions.cache.llm import SemanticCache
from redisvl.query.filter import Tag
from redisvl.utils.vectorize import CustomVectorizer


def main() -> None:
    url, path = sys.argv[1:]
    with np.load(Path(path)) as given:
        stored, asked = given["stored"].astype(np.float32), given["asked"].astype(np.float32)
    length = stored.shape[1]
    cache = SemanticCache(
        vectorizer=CustomVectorizer(embed=lambda *_, **__: [0.0] * length),
        filterable_fields=[{"name": "pair", "type": "tag"}],
        redis_url=url,
        overwrite=True,
    )
    served = []
    for number, (before, now) in enumerate(zip(stored.tolist(), asked.tolist(), strict=True)):
        cache.store(prompt=f"prompt {number}", response="answer", vector=before, filters={"pair": str(number)})
        served.append(bool(cache.check(vector=now, filter_expression=Tag("pair") == str(number))))
    cache.delete()
    json.dump(served, sys.stdout)


if __name__ == "__main__":
    main()
