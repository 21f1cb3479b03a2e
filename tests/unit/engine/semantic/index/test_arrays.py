import numpy as np

from agentcache.engine.semantic.index.arrays import PartitionArrays
from agentcache.engine.semantic.index.rows import quantised


def kept(vectors):
    arrays = PartitionArrays(vectors.shape[1])
    for number, vector in enumerate(vectors):
        values, scale = quantised(vector)
        arrays.append(number, 100.0, values.tobytes(), float(scale))
    return arrays


def units(count, seed):
    found = np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_among_many_the_row_itself_is_nearest_and_a_dead_one_is_found_no_more():
    vectors = units(1000, 5)
    arrays = kept(vectors)
    for number in (0, 499, 999):
        assert arrays.search(vectors[number], 0.0, 3, set())[0][0] == number
    arrays.kill(499)
    assert 499 not in [at for at, _ in arrays.search(vectors[499], 0.0, 3, set())]
    assert arrays.search(vectors[0], 200.0, 3, set()) == []


def test_of_very_many_that_are_as_near_the_oldest_are_compared():
    vectors = np.concatenate([units(300, 6), np.repeat(units(1, 7), 700, axis=0)])
    found = kept(vectors).search(vectors[-1], 0.0, 3, set())
    assert [at for at, _ in found] == [300, 301, 302]
    assert kept(vectors).search(vectors[-1], 0.0, 3, {300, 302})[0][0] == 301
