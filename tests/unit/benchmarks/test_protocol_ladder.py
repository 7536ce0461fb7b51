"""Fixed answers of the protocol ladder, and its tables."""

import numpy as np
import pytest

from benchmarks.protocol_ladder import Ladder, Rungs, faded, merged, moved, page, prediction, throw
from harness.imaging import masks
from harness.records import Entity, Mask, Sample, Target

NARROW = Rungs("dice", ((0.5, "m3d", "dice"), (0.6, "standard", "dice")))
WIDE = Rungs("dice", ((0.2, "m3d", "dice"), (0.6, "standard", "dice")))
NAMED = Rungs("bleu", ((0.1, "m3d", "bleu1"), (0.4, "standard", "bleu")))


def square(size: int = 64) -> Mask:
    array = np.zeros((size, size), dtype=bool)
    array[10:30, 20:40] = True
    return masks.encode(array)


def samples(count: int) -> list[Sample]:
    entity = Entity(name="liver", mask=square())
    return [Sample(id=f"s/{number}", target=Target(answers=("yes",), entities=(entity,))) for number in range(count)]


def test_a_throw_follows_from_the_id_and_uses_every_face() -> None:
    thrown = [throw(sample, 3, "x") for sample in samples(60)]
    assert set(thrown) == {0, 1, 2}
    assert thrown == [throw(sample, 3, "x") for sample in samples(60)]
    assert thrown != [throw(sample, 3, "y") for sample in samples(60)]


def test_a_moved_mask_keeps_its_area_and_stays_near() -> None:
    for sample in samples(20):
        array = moved(square(), sample)
        assert array.sum() == 400
        rows, columns = np.nonzero(array)
        assert 10 <= rows.min() <= 11
        assert 20 <= columns.min() <= 21


def test_a_faded_mask_is_between_zero_and_one_and_highest_inside() -> None:
    probabilities = faded(masks.decode(square()))
    assert probabilities.min() >= 0
    assert probabilities.max() <= 1
    assert probabilities[20, 30] > 0.9 > probabilities[10, 30] > 0.1 > probabilities[60, 60]


def test_some_masks_are_missing_and_some_are_probabilities() -> None:
    found = [prediction(sample, ["no"]) for sample in samples(60)]
    assert {len(one.masks) for one in found} == {0, 1}
    assert {len(one.soft_masks) for one in found} == {0, 1}
    assert all(len(one.masks) >= len(one.soft_masks) for one in found)


def test_tasks_with_equal_tables_share_one_and_empty_ones_are_left_out() -> None:
    found = merged(
        [Ladder(["a"], 9, [NARROW]), Ladder(["b"], 9, [NARROW]), Ladder(["c"], 9, []), Ladder(["d"], 8, [NARROW])]
    )
    assert [ladder.tasks for ladder in found] == [["a", "b"], ["d"]]


def test_the_page_names_the_task_with_the_widest_spread_and_values_not_called_like_their_metric() -> None:
    text = page([Ladder(["a"], 9, [NARROW]), Ladder(["b"], 8, [WIDE, NAMED])])
    head, *tables = text.split("\n\n### ")
    assert head.splitlines()[2:] == [
        "| dice | 0.400 | m3d 0.200 | standard 0.600 | b |",
        "| bleu | 0.300 | m3d (bleu1) 0.100 | standard 0.400 | b |",
    ]
    assert [table.splitlines()[0] for table in tables] == ["a: 9 samples", "b: 8 samples"]
    assert tables[0].splitlines()[-1] == "| dice | 0.100 | m3d 0.500, standard 0.600 |"


def test_the_spread_is_the_highest_minus_the_lowest_value() -> None:
    assert WIDE.spread == pytest.approx(0.4)
