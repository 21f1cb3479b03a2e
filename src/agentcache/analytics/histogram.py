"""The latency histogram: buckets of one ratio, so that a percentile is off by the same share wherever it falls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

#: Upper bound of the first bucket. What is faster than this is all one to a caller over a network.
FIRST_BOUND_US: Final = 250.0
#: Three buckets to a doubling: the middle of a bucket (by ratio) is at most 2^(1/6) - 1 = 12.3 % from its ends.
RATIO: Final = 2 ** (1 / 3)
#: The last bucket but one ends at about 8.5 minutes; beyond is the last.
BUCKETS: Final = 64
#: How far a percentile may be off, either way.
ERROR_SHARE: Final = RATIO**0.5 - 1

BOUNDS_US: Final = tuple(round(FIRST_BOUND_US * RATIO**number) for number in range(BUCKETS - 1))
BUCKET_COLUMNS: Final = tuple(f"b{number:02}" for number in range(BUCKETS))


def percentile(counts: Sequence[int], share: float) -> float | None:
    """Return the latency in microseconds that `share` of the requests did not exceed, or None without a request.

    The answer is the bucket's middle by ratio: off by at most `ERROR_SHARE` within the bounds.
    """
    total = sum(counts)
    if not total:
        return None
    wanted = max(1, -(-total * share // 1))
    seen = 0
    for number, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return _middle(number)
    return _middle(len(counts) - 1)


def _middle(bucket: int) -> float:
    if bucket == 0:
        return FIRST_BOUND_US / math.sqrt(RATIO)
    return FIRST_BOUND_US * math.pow(RATIO, min(bucket, BUCKETS - 1) - 0.5)
