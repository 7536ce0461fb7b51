"""The lines of `harness metric`, kind by kind; test_lines.py has those of texts and masks."""

import json
import math
from typing import Any, get_args

import pytest

from harness.cli.metric.input import EXAMPLES, KEYS, parse, read_pair, similarity
from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.metric import LineKind, Pair


def read(kind: LineKind, **value: Any) -> Pair:
    return read_pair(parse(json.dumps(value).encode(), "line 1", kind), "line 1", kind)


def test_every_kind_has_its_keys_and_an_example_that_can_be_read() -> None:
    assert set(KEYS) == set(EXAMPLES) == set(get_args(LineKind))
    for kind, example in EXAMPLES.items():
        value = parse(example.encode(), "line 1", kind)
        if kind == "retrieval":
            assert similarity(value, "line 1") == [[0.9, 0.1], [0.4, 0.3]]
        else:
            assert read_pair(value, "line 1", kind)[0].id == "line 1"


def test_an_option_is_asked_by_its_letter_and_answered_by_text_or_by_likelihood() -> None:
    sample, prediction = read("choice", options=["Liver", "Spleen"], target="B", nll=[2, 0.5], nll_tokens=[3, 4])
    assert (sample.target.choice, sample.target.answers, sample.choices) == ("B", ("Spleen",), ("Liver", "Spleen"))
    assert (prediction.text, prediction.nll, prediction.nll_tokens) == (None, (2.0, 0.5), (3, 4))


def test_probabilities_are_kept_and_cut_at_a_half_and_absent_target_pixels_are_background() -> None:
    sample, prediction = read("soft_masks", prediction=[[0.5, 0.75]], target=[[1, -1]])
    assert [masks.area(mask) for mask in prediction.masks] == [1]
    assert len(prediction.soft_masks) == 1
    target = sample.target.entities[0].mask
    assert target is not None
    assert masks.area(target) == 1


def test_a_binary_mask_has_no_probabilities_to_keep() -> None:
    assert read("soft_masks", prediction=[[0.0, 1.0]], target=[[0, 1]])[1].soft_masks == ()


def test_entities_refer_to_their_masks_by_position_and_masks_without_a_name_follow() -> None:
    found = {"text": "Liver.", "masks": [[[1, 1]]], "entities": [{"name": "a"}, {"name": "b", "mask": [[0, 1]]}]}
    _, prediction = read("grounding", prediction=found, target={"entities": []})
    assert [(entity.name, entity.mask) for entity in prediction.entities] == [("a", None), ("b", 0)]
    assert [masks.area(mask) for mask in prediction.masks] == [1, 2]
    assert prediction.text == "Liver."


def test_the_spacing_of_a_volume_has_three_numbers() -> None:
    sample, _ = read("masks", prediction=[[[1]]], target=[[[1]]], spacing_mm=[2, 1, 0.5])
    assert (sample.media[0].kind, sample.media[0].spacing_mm) == ("volume", (2.0, 1.0, 0.5))


def test_nothing_is_similar_to_what_is_not_a_number() -> None:
    first, second = similarity({"similarity": [[1, None], ["nan", 0.5]]}, "line 1")
    assert (first[0], second[1]) == (1, 0.5)
    assert math.isnan(first[1])
    assert math.isnan(second[0])


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("choice", {"options": [], "target": "A"}, "options: expected a list of texts, found []"),
        ("choice", {"options": ["a"], "target": "B"}, "target: expected one of the letters A, found 'B'"),
        ("choice", {"options": ["a"], "target": "A"}, 'expected "prediction", the reply, or "nll", one number'),
        ("choice", {"options": ["a"], "target": "A", "nll": [1, 2]}, "nll: expected 1 numbers, one per option"),
        ("choice", {"options": ["a"], "target": "A", "nll": ["x"]}, "nll: expected a list of numbers, found ['x']"),
        ("masks", {"prediction": [[1]], "target": [[1]], "spacing_mm": [1]}, "spacing_mm: expected 2 numbers above 0"),
        ("soft_masks", {"prediction": [[1.5]], "target": [[1]]}, "prediction: expected probabilities in [0, 1]"),
        ("instances", {"predictions": 1, "targets": []}, "predictions: expected a list of masks, found int"),
        ("instances", {"predictions": [[[1]]], "targets": [[[1, 0]]]}, "expected masks of one size, found (1, 1)"),
        ("instances", {"predictions": [], "targets": [], "scores": [1]}, "scores: expected 0 numbers, one per mask"),
        ("grounding", {"prediction": {}, "target": {}}, 'prediction: expected {"entities": [{"name", "mask"}, ...]}'),
        (
            "grounding",
            {"prediction": {"entities": [{"mask": [[1]]}]}, "target": {"entities": []}},
            'prediction.entities[0]: expected an object with "name", a text, and "mask"',
        ),
        ("boxes", {"prediction": [0, 0, 1], "target": [0, 0, 1, 1]}, "prediction: expected 4 or 6 finite numbers"),
        ("boxes", {"prediction": [0] * 6, "target": [0] * 4}, "expected prediction and target of as many numbers"),
        ("judge", {"reply": 80}, "reply: expected text, found int"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_a_line_of_another_form_says_what_was_expected(kind: LineKind, value: dict[str, Any], expected: str) -> None:
    with pytest.raises(DataError) as caught:
        read(kind, **value)
    assert str(caught.value).startswith(f"line 1: {expected}")


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [([], "similarity: expected a list of rows of numbers"), ([[1, "x"]], "similarity[0]: expected numbers or null")],
)
def test_a_matrix_of_another_form_says_what_was_expected(matrix: Any, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        similarity({"similarity": matrix}, "line 1")
    assert str(caught.value).startswith(f"line 1: {expected}")
