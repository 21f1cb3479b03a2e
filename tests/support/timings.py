"""Whether two samples of times could be of one kind."""

from __future__ import annotations


def ks_p_value(one: list[float], other: list[float]) -> float:
    """Return how likely samples this different are when they come from one distribution (Kolmogorov-Smirnov, two sided)."""
    merged = sorted([(value, 1 / len(one)) for value in one] + [(value, -1 / len(other)) for value in other])
    distance = most = 0.0
    for _, step in merged:
        distance += step
        most = max(most, abs(distance))
    size = len(one) * len(other) / (len(one) + len(other))
    scaled = (size**0.5 + 0.12 + 0.11 / size**0.5) * most
    terms = [2 * (-1) ** (k - 1) * 2.718281828459045 ** (-2 * (k * scaled) ** 2) for k in range(1, 101)]
    return min(1.0, max(0.0, sum(terms))) if scaled > 0.2 else 1.0
