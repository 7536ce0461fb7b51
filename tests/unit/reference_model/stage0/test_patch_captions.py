"""Cells are captioned by the parts that lie in them: their name, side, number and size."""

import numpy as np
import pytest
from numpy.typing import NDArray

from reference_model.config import ModelConfig
from reference_model.stage0.patch_captions import BACKGROUND, COUNTS, PatchCaption, patch_captions, side_of, structures
from tests.unit.reference_model.small_training import example

Bools = NDArray[np.bool_]
SIDE = 80
"""Of the pictures; each cell takes `SIDE / cells` pixels of it."""


def drawn(*boxes: tuple[int, int, int, int]) -> Bools:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    for left, top, right, bottom in boxes:
        mask[top:bottom, left:right] = True
    return mask


def cells_of(config: ModelConfig, **named: Bools) -> NDArray[np.object_]:
    row = tuple(example(0, size=(SIDE, SIDE), mask=mask, name=name) for name, mask in named.items())
    cells = config.vision.cells
    shown = np.empty(cells * cells, dtype=object)
    shown[:] = patch_captions(row, side=config.vision.image_size, cells=cells)
    return shown.reshape(cells, cells)


def test_every_part_of_a_structure_is_shown_with_its_own_side(config: ModelConfig) -> None:
    quarter = SIDE // 4
    lungs = drawn((0, 0, quarter, SIDE), (3 * quarter, 0, SIDE, SIDE // 2))
    shown = cells_of(config, lung=lungs)
    assert shown[0, 0] == PatchCaption("lung", "left", "two", "larger")
    assert shown[0, -1] == PatchCaption("lung", "right", "two", "")
    assert shown[-1, -1] == BACKGROUND


def test_a_cell_shows_the_smallest_part_in_it(config: ModelConfig) -> None:
    half = SIDE // 2
    shown = cells_of(config, lesion=drawn((half, half, SIDE, SIDE)), liver=drawn((0, 0, SIDE, SIDE)))
    assert shown[-1, -1].name == "lesion"
    assert shown[0, 0] == PatchCaption("liver", "", "one", "")


def test_a_speck_takes_the_cell_that_has_most_of_it(config: ModelConfig) -> None:
    step = SIDE // config.vision.cells
    middle = step + step // 2
    shown = cells_of(config, cyst=drawn((middle, middle, middle + 4, middle + 4)))
    assert [place for place, one in np.ndenumerate(shown) if one != BACKGROUND] == [(1, 1)]


def test_an_edge_that_came_loose_is_no_part(config: ModelConfig) -> None:
    shown = cells_of(config, liver=drawn((0, 0, SIDE // 2, SIDE // 2), (SIDE - 2, SIDE - 2, SIDE - 1, SIDE - 1)))
    assert structures(shown.ravel().tolist()) == {"liver": [PatchCaption("liver", "left", "one", "")]}


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 6])
def test_parts_are_counted_and_many_are_more(parts: int, config: ModelConfig) -> None:
    mask = drawn(*((8 * part, 8 * part, 8 * part + 4, 8 * part + 4) for part in range(parts)))
    found = structures(cells_of(config, polyp=mask).ravel().tolist())["polyp"]
    assert {one.number for one in found} == {COUNTS[min(parts, 4) - 1]}


def test_near_the_middle_is_on_neither_side() -> None:
    assert side_of(drawn((0, 0, SIDE // 2, SIDE))) == "left"
    assert side_of(drawn((SIDE // 2, 0, SIDE, SIDE))) == "right"
    assert side_of(drawn((30, 0, 54, SIDE))) == ""


def test_words_stand_behind_one_another() -> None:
    assert PatchCaption("lung", "left", "two", "larger").words == "lung left two larger"
    assert BACKGROUND.words == ""
