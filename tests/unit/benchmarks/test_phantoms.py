"""The contact sheet of the documentation."""

import numpy as np

from benchmarks.phantoms import COLOURS, contact_sheet


def test_the_sheet_keeps_the_exact_colours_of_its_lines() -> None:
    sheet = contact_sheet(0)
    palette = sheet.getpalette()
    assert palette is not None
    assert palette[-3 * len(COLOURS) :] == [level for colour in COLOURS for level in colour]
    # CT shows six structures, so every colour is used.
    used = set(np.unique(np.asarray(sheet)).tolist())
    assert used >= set(range(256 - len(COLOURS), 256))
