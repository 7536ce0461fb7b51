"""Laws of box IoU, of ranks under ties, and of the grammar of entities."""

import string
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from harness.metrics.grounding.rec import m3d_iou, true_iou
from harness.metrics.retrieval import CUTOFFS, fair_credits, first_credits, matrix_ranks
from harness.text.grounded_text import parse

FEW = settings(max_examples=60)
Corners = tuple[float, ...]

corner = st.integers(-3, 6).map(lambda value: value / 4)
box_pairs = st.sampled_from([4, 6]).flatmap(
    lambda count: st.tuples(*(st.tuples(*(corner for _ in range(count))) for _ in range(2)))
)
matrices = st.integers(1, 6).flatmap(
    lambda size: arrays.arrays(np.float64, (size, size), elements=st.integers(0, 3).map(float))
)
name = st.text(string.ascii_letters + " ", min_size=1, max_size=8).filter(str.strip)


@FEW
@given(box_pairs)
def test_box_iou_is_symmetric_and_the_released_quotient_never_exceeds_it(pair: tuple[Corners, Corners]) -> None:
    assert true_iou(*pair) == pytest.approx(true_iou(*pair[::-1]))
    assert m3d_iou(*pair) == pytest.approx(m3d_iou(*pair[::-1]))
    assert 0 <= m3d_iou(*pair) <= true_iou(*pair) + 1e-12 <= 1 + 1e-11


@FEW
@given(box_pairs)
def test_box_iou_is_that_of_the_cells_the_boxes_cover(pair: tuple[Corners, Corners]) -> None:
    grids = []
    for box in pair:
        half = len(box) // 2
        dense = np.zeros((9,) * half, dtype=np.bool_)
        starts, ends = ([round(value * 4) + 3 for value in side] for side in (box[:half], box[half:]))
        dense[tuple(slice(start, end) for start, end in zip(starts, ends, strict=True))] = True
        grids.append(dense)
    either = np.count_nonzero(grids[0] | grids[1])
    expected = np.count_nonzero(grids[0] & grids[1]) / either if either else 0.0
    assert true_iou(*pair) == pytest.approx(expected)


@FEW
@given(matrices)
def test_fair_credit_is_the_mean_over_the_orders_that_ties_leave_open(similarity: NDArray[np.float64]) -> None:
    ranks = matrix_ranks(similarity)
    for query, credit in enumerate(fair_credits(ranks).tolist()):
        better, tied = int(ranks.better[query]), int(ranks.tied[query])
        open_ranks = range(better + 1, better + tied + 1)
        expected = [float(np.mean([rank <= k for rank in open_ranks])) for k in CUTOFFS]
        assert credit == pytest.approx([*expected, float(np.mean([1 / rank for rank in open_ranks]))])


@FEW
@given(matrices)
def test_without_ties_both_protocols_agree(similarity: NDArray[np.float64]) -> None:
    size = len(similarity)
    distinct = similarity * size * size + np.arange(size * size).reshape(size, size)
    ranks = matrix_ranks(distinct)
    np.testing.assert_allclose(fair_credits(ranks), first_credits(ranks), atol=1e-12)


@FEW
@given(matrices, st.randoms(use_true_random=False))
def test_the_order_of_the_gallery_does_not_matter_to_fair_credit(
    similarity: NDArray[np.float64], random: object
) -> None:
    order = list(range(len(similarity)))
    random.shuffle(order)  # type: ignore[attr-defined]
    own = np.argsort(order)  # where each target has gone
    moved = matrix_ranks(similarity[:, order], own)
    np.testing.assert_array_equal(fair_credits(moved), fair_credits(matrix_ranks(similarity)))


@FEW
@given(matrices)
def test_recall_grows_with_its_cutoff(similarity: NDArray[np.float64]) -> None:
    for credit in (fair_credits(matrix_ranks(similarity)), first_credits(matrix_ranks(similarity))):
        assert all((low <= high).all() for low, high in pairwise(credit[:, :3].T))
        assert ((credit >= 0) & (credit <= 1)).all()


@FEW
@given(st.lists(st.tuples(name, st.booleans()), max_size=5))
def test_entities_written_in_a_grammar_are_read_back(entities: list[tuple[str, bool]]) -> None:
    written = {
        "mimo": " and ".join(f"<p>{name}{'<SEG>' * bound}</p>" for name, bound in entities),
        "glamm": " and ".join(f"<p>{name}</p>{' [SEG]' * bound}" for name, bound in entities),
    }
    numbers = iter(range(len(entities)))
    expected = [(" ".join(name.split()), (next(numbers),) if bound else ()) for name, bound in entities]
    for grammar, text in written.items():
        read = parse(text, grammar)
        assert [(entity.name, entity.masks) for entity in read.entities] == expected
        assert [text[slice(*entity.span)] for entity in read.entities] == [name.strip() for name, _ in entities]
        assert read.stray == ()


@FEW
@given(st.lists(st.sampled_from(["<p>", "</p>", "<SEG>", "[SEG]", "liver", " ", "."]), max_size=12), st.data())
def test_every_mask_token_of_any_reply_has_one_place(parts: list[str], data: st.DataObject) -> None:
    text, grammar = "".join(parts), data.draw(st.sampled_from(["mimo", "glamm"]))
    read = parse(text, grammar)
    places = sorted((*read.stray, *(mask for entity in read.entities for mask in entity.masks)))
    assert places == list(range(parts.count("<SEG>" if grammar == "mimo" else "[SEG]")))
    assert all(0 <= start <= end <= len(text) for start, end in (entity.span for entity in read.entities))
