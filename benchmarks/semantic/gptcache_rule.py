"""GPTCache's own decision for pairs of texts, run in `.venv-rivals`: cosines in on standard input, scores and threshold out.

Its vector store gives squared Euclidean distances; its evaluation and its default threshold are used as they are.
"""

from __future__ import annotations

import json
import sys

from gptcache.config import Config
from gptcache.similarity_evaluation.distance import SearchDistanceEvaluation


def main() -> None:
    evaluation = SearchDistanceEvaluation()
    lowest, highest = evaluation.range()
    # As its adapter does before it serves.
    threshold = (highest - lowest) * Config().similarity_threshold
    distances = [2 - 2 * cosine for cosine in json.load(sys.stdin)]
    scores = [evaluation.evaluation({}, {"search_result": (distance, 0)}) for distance in distances]
    json.dump({"threshold": threshold, "scores": scores}, sys.stdout)


if __name__ == "__main__":
    main()
