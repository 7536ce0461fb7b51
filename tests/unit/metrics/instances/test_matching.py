"""One-to-one matchings: agreement with a search through all of them, and with the order of the released one."""

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.instances.matching import best_matching, greedy_matching, iou_table, largest_matching

Table = NDArray[np.float64]


def random_table(seed: int) -> Table:
    generator = np.random.default_rng(seed)
    return generator.choice([0.0, 0.2, 0.5, 0.7, 0.9, 1.0], (generator.integers(1, 5), 4))


def all_matchings(table: Table) -> list[list[tuple[int, int]]]:
    return [list(enumerate(columns)) for columns in permutations(range(table.shape[1]), table.shape[0])]


@pytest.mark.parametrize("seed", range(20))
def test_best_matching_has_most_pairs_and_then_most_worth(seed: int) -> None:
    table = random_table(seed)
    ranks = []
    for matching in all_matchings(table):
        kept = [float(table[place]) for place in matching if table[place] >= 0.5]
        ranks.append((len(kept), round(sum(kept), 9)))
    found = [float(table[place]) for place in best_matching(table, table >= 0.5)]
    assert (len(found), round(sum(found), 9)) == max(ranks)


@pytest.mark.parametrize("seed", range(20))
def test_largest_matching_has_the_largest_sum(seed: int) -> None:
    table = random_table(seed)
    best = max(sum(float(table[place]) for place in matching) for matching in all_matchings(table))
    assert sum(float(table[place]) for place in largest_matching(table)) == pytest.approx(best)


def test_a_matching_of_nothing_is_empty() -> None:
    for table in (np.zeros((0, 3)), np.zeros((2, 0)), np.zeros((2, 2))):
        assert best_matching(table, table > 0) == largest_matching(table) == greedy_matching(table) == []


def test_greedy_matching_takes_the_first_of_equals_and_stops_at_what_is_no_number() -> None:
    assert greedy_matching(np.array([[0.5, 0.9], [0.9, 0.9]])) == [(0, 1), (1, 0)]
    assert greedy_matching(np.array([[0.9, 0.5], [0.0, np.nan]])) == []


def test_iou_of_every_pair_and_what_two_empty_masks_are_worth() -> None:
    full, half, none = (masks.encode(np.array([row])) for row in ([1, 1], [1, 0], [0, 0]))
    assert iou_table([full, none], [half, none], "x").tolist() == [[0.5, 0.0], [0.0, 0.0]]
    table = iou_table([none], [half, none], "x", nothing=float("nan"))
    assert table[0, 0] == 0.0
    assert np.isnan(table[0, 1])
    assert iou_table([], [half], "x").shape == (0, 1)


@pytest.mark.parametrize("shape", [(9, 12), (3, 9, 12)])
def test_the_table_of_iou_has_the_pixels_of_every_pair(shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(2)
    arrays = [draw.random(shape) < share for share in (0.0, 0.1, 0.5, 1.0, 0.0, 0.3)]
    rows, columns = arrays[:3], arrays[2:]
    found = iou_table([masks.encode(one) for one in rows], [masks.encode(one) for one in columns], "s", nothing=-1.0)
    for place in np.ndindex(*found.shape):
        first, second = rows[place[0]], columns[place[1]]
        union = np.count_nonzero(first | second)
        assert found[place] == (np.count_nonzero(first & second) / union if union else -1.0)


def test_a_side_without_masks_has_a_table_without_rows_or_columns() -> None:
    mask = masks.full((2, 3))
    assert iou_table([], [mask], "s").shape == (0, 1)
    assert iou_table([mask], [], "s").shape == (1, 0)
    assert iou_table([], [], "s").shape == (0, 0)
