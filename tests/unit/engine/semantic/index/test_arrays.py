import numpy as np
import pytest

from agentcache.engine.semantic.index.arrays import PartitionArrays, _smallest
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


@pytest.mark.parametrize("rows", [1, 40, 900, 30_000])
@pytest.mark.parametrize("shape", ["normal", "equal", "few near", "far in the sample"])
def test_the_smallest_are_those_of_sorting_all(rows, shape):
    distances = np.random.default_rng(rows).normal(190, 10, rows).astype(np.uint16)
    if shape == "equal":
        distances[:] = 190
    elif shape == "few near":
        distances[rows // 2 : rows // 2 + 30] = 20
    elif shape == "far in the sample":
        # What is looked at first says less of the others than it should.
        distances[::16] = 20
        distances[1:40] = 3
    found = _smallest(distances, 64, 385)
    assert found.tolist() == np.argsort(distances, kind="stable")[:64].tolist()


def test_dead_rows_do_not_take_the_places_of_the_living():
    vectors = units(6000, 9)
    arrays = kept(vectors)
    asked = vectors[7]
    before = [at for at, _ in arrays.search(asked, 0.0, 100, set())]
    for position in before[:99]:
        arrays.kill(position)
    assert arrays.search(asked, 0.0, 1, set())[0][0] == before[99]
    assert before[99] not in [at for at, _ in arrays.search(asked, 0.0, 3, {before[99]})]
