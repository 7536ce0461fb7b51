"""Laws that NSD and HD95 keep under both protocols."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.masks import surface
from harness.metrics.metric import Metric, sample_values
from harness.records import Entity, Media, Prediction, Sample, Target

Bools = NDArray[np.bool_]
Draw = Any

ROWS = {(row.name, row.protocol): row for row in surface.METRICS}


@st.composite
def settings_of_pairs(draw: Draw) -> tuple[Bools, Bools, tuple[float, ...]]:
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=6))
    first, second = (draw(arrays.arrays(np.bool_, shape, fill=st.booleans())) for _ in range(2))
    return first, second, tuple(draw(st.sampled_from([0.5, 1.0, 2.5])) for _ in shape)


def value(row: Metric, predicted: Bools, target: Bools, spacing: tuple[float, ...], **parameters: Any) -> float | None:
    media = Media(path="", sha256=None, size=target.shape, spacing_mm=spacing)
    entity = Entity(name="x", mask=masks.encode(target))
    sample = Sample(id="x", media=(media,), target=Target(entities=(entity,)))
    outcome = row.score(sample, Prediction(key="x", status="ok", masks=(masks.encode(predicted),)), **parameters)
    return sample_values(row, outcome.stats)[0] if outcome.status == "ok" else None


@settings(max_examples=50)
@given(settings_of_pairs())
def test_values_are_symmetric_and_in_range(drawn: tuple[Bools, Bools, tuple[float, ...]]) -> None:
    first, second, spacing = drawn
    diagonal = float(np.linalg.norm(np.multiply(first.shape, spacing)))
    for row in surface.METRICS:
        found = value(row, first, second, spacing)
        assert found == value(row, second, first, spacing), row
        # The distance to an empty side is infinite, or left out, under the packages' own rules.
        unbounded = row.name in ("hd95", "hausdorff") and row.protocol in ("surface-distance", "monai")
        one_is_empty = not (first.any() and second.any())
        assert (found is None) == (one_is_empty if unbounded else not (first | second).any()), row
        if found is not None:
            assert 0 <= found <= (1 if row.name == "nsd" else diagonal), row
            if np.array_equal(first, second):
                assert found == (row.name == "nsd"), row


@settings(max_examples=50)
@given(settings_of_pairs())
def test_a_larger_tolerance_never_lowers_nsd(drawn: tuple[Bools, Bools, tuple[float, ...]]) -> None:
    for protocol in ("standard", "surface-distance"):
        found = [value(ROWS["nsd", protocol], *drawn, tolerance_mm=limit) for limit in (0.25, 1.0, 4.0)]
        assert None in found or found == sorted(found), protocol


@settings(max_examples=50)
@given(settings_of_pairs(), st.sampled_from([2.0, 0.5]))
def test_distances_scale_with_the_spacing(drawn: tuple[Bools, Bools, tuple[float, ...]], factor: float) -> None:
    first, second, spacing = drawn
    scaled = tuple(step * factor for step in spacing)
    for protocol in ("standard", "surface-distance"):
        row, nsd = ROWS["hd95", protocol], ROWS["nsd", protocol]
        found = value(row, first, second, spacing)
        assert value(row, first, second, scaled) == (None if found is None else found * factor), protocol
        share = value(nsd, first, second, spacing)
        again = value(nsd, first, second, scaled, tolerance_mm=factor)
        assert share is again is None or abs((share or 0) - (again or 0)) < 1e-12, protocol
