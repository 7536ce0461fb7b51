"""`harness metric`: JSON lines in, JSON lines out."""

import json
from typing import Any

import pytest

from harness.cli.metric.lines import run
from harness.errors import SpecError
from harness.imaging import mask_files, masks
from harness.records import Box, Json


def lines(*values: Any, name: str = "vqa_accuracy", protocol: str | None = None, aggregate: bool = False) -> list[Json]:
    raw = [value if isinstance(value, bytes) else json.dumps(value).encode() for value in values]
    return [line.value for line in run(raw, name, protocol, (), aggregate=aggregate)]


def pair(prediction: Json, target: Json, **more: Json) -> dict[str, Json]:
    return {"prediction": prediction, "target": target, **more}


def error(value: Any, name: str = "vqa_accuracy") -> str:
    (line,) = run([value if isinstance(value, bytes) else json.dumps(value).encode()], name, None, (), aggregate=False)
    assert not line.readable
    assert line.value["value"] is None
    assert line.value["status"] == "error"
    assert set(line.value) == {"value", "status", "values", "detail"}
    message: str = line.value["detail"]["error"]
    return message


def test_a_text_line_gives_its_value_and_the_rule_that_fired() -> None:
    assert lines(pair("Yes.", "yes"), pair("left", ["right", "Left"])) == [
        {"value": 1.0, "status": "ok", "values": {"vqa_accuracy": 1.0}, "detail": {"rule": "yes_no"}},
        {"value": 1.0, "status": "ok", "values": {"vqa_accuracy": 1.0}, "detail": {"rule": "equal_text"}},
    ]


def test_a_reply_that_cannot_be_read_is_zero_and_says_so() -> None:
    (line,) = lines(pair("perhaps", "yes"))
    assert (line["value"], line["status"]) == (0.0, "unparsed")


def test_the_first_of_several_values_is_the_value() -> None:
    (line,) = lines(pair("left lung", "lung"), name="token_prf")
    assert line["values"] == pytest.approx({"f1": 2 / 3, "precision": 0.5, "recall": 1.0})
    assert line["value"] == line["values"]["f1"]


FLAT = [[0, 1, 1], [0, 0, 0]]
DEEP = [[[0, 0], [0, 0]], [[1, 1], [0, 0]]]


@pytest.mark.parametrize(
    ("prediction", "target", "dice"),
    [
        (FLAT, FLAT, 1.0),
        (FLAT, [[0, 1, 0], [0, 0, 0]], 2 / 3),
        (mask_files.to_json(mask_files.from_json(FLAT, where="test")), FLAT, 1.0),
        ({"size": [2, 3], "counts": [2, 1, 1, 1, 1]}, FLAT, 1.0),
        (DEEP, DEEP, 1.0),
        ({"size": [2, 2, 2], "slices": {}}, DEEP, 0.0),
        (mask_files.to_json(masks.from_box(Box(corners=(1, 0, 0, 2, 1, 2)), (2, 2, 2))), DEEP, 1.0),
    ],
)
def test_masks_are_lists_or_run_lengths_in_two_and_three_axes(prediction: Json, target: Json, dice: float) -> None:
    (line,) = lines(pair(prediction, target), name="dice")
    assert (line["value"], line["status"]) == (pytest.approx(dice), "ok")


def test_what_has_no_value_is_null_and_undefined() -> None:
    empty = [[0, 0]]
    assert lines(pair(empty, empty), name="dice")[0] == {
        "value": None,
        "status": "undefined",
        "values": {"dice": None},
        "detail": {},
    }
    assert lines(pair(empty, empty), name="dice", protocol="sam-med2d")[0]["value"] == 1.0


def test_a_corpus_adds_its_means_and_leaves_out_what_has_no_value() -> None:
    pairs = [pair([[1, 1]], [[1, 1]]), pair([[0, 0]], [[0, 0]]), pair([[1, 0]], [[0, 1]]), b"{"]
    assert lines(*pairs, name="dice", aggregate=True)[-1] == {
        "aggregate": {"n": 2, "undefined": 1, "values": {"dice": 0.5}}
    }


def test_an_empty_corpus_has_no_means() -> None:
    assert lines(name="token_prf", aggregate=True) == [
        {"aggregate": {"n": 0, "undefined": 0, "values": {"f1": None, "precision": None, "recall": None}}}
    ]


def test_unparsed_replies_count_in_the_corpus() -> None:
    found = lines(pair("perhaps", "yes"), pair("yes", "yes"), aggregate=True)[-1]
    assert found == {"aggregate": {"n": 2, "undefined": 0, "values": {"vqa_accuracy": 0.5}}}


def test_broken_lines_are_named_and_the_others_scored() -> None:
    found = lines(b"{", b"", pair("yes", "yes"), {"prediction": "yes"}, pair("no", "yes"))
    assert [line["value"] for line in found] == [None, 1.0, None, 0.0]
    assert found[0]["values"] == {"vqa_accuracy": None}
    assert found[0]["detail"]["error"].startswith("line 1: ")
    assert found[2]["detail"]["error"].startswith("line 4: ")


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (b'{"prediction": "ye', "vqa_accuracy", "line 1: expected a JSON object: Unterminated string"),
        (b"\xff", "vqa_accuracy", "line 1: expected a JSON object: 'utf-8' codec can't decode"),
        (
            '{"prediction": "yes", "target": "yes"}'.encode("utf-16"),
            "vqa_accuracy",
            "line 1: expected a JSON object: is UTF-16, save it as UTF-8",
        ),
        (
            '{"prediction": "yes", "target": "yes"}'.encode("utf-16-be"),
            "vqa_accuracy",
            "line 1: expected a JSON object: is UTF-16 without a byte order mark, save it as UTF-8",
        ),
        (b'[{"prediction": "a", "target": "b"}]', "vqa_accuracy", "line 1: is a JSON list, write one object a line"),
        (b"9" * 5000, "vqa_accuracy", "line 1: expected a JSON object: Exceeds the limit"),
        (b"[" * 100_000, "vqa_accuracy", "line 1: expected a JSON object: maximum recursion"),
        ([1], "vqa_accuracy", 'line 1: expected an object with "prediction" and "target", found list'),
        ({}, "vqa_accuracy", 'line 1: expected an object with "prediction" and "target", found no key'),
        ({"reply": ""}, "dice", 'line 1: expected an object with "prediction" and "target", found \'reply\''),
        (pair(3, "yes"), "vqa_accuracy", "line 1: prediction: expected text, found int"),
        (pair("yes", []), "vqa_accuracy", "line 1: target: expected text or a list of texts, found []"),
        (pair("yes", ["a", 1]), "vqa_accuracy", "line 1: target: expected text or a list of texts, found ['a', 1]"),
        (pair([[0, 1]], [[0], [1]]), "dice", "line 1: prediction is (1, 2), target is (2, 1); expected one size"),
        (pair([[0, 0.5]], [[0, 1]]), "dice", "line 1: prediction: expected bool or 0/1 integers, found float64"),
        (pair([[0, 1]], "x"), "dice", "line 1: target: expected a mask as an object or as nested lists, found str"),
        (pair([[0, 1], [1]], [[0, 1]]), "dice", "line 1: prediction: expected nested lists with rows of one length"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_line_that_cannot_be_read_says_what_was_expected(value: Any, name: str, expected: str) -> None:
    assert error(value, name).startswith(expected)


def test_an_unknown_metric_protocol_or_parameter_ends_before_the_first_line() -> None:
    with pytest.raises(
        SpecError, match=r"metric: expected one of choice_accuracy, .*, got 'dise' \(did you mean 'dice'\?\)"
    ):
        run([], "dise", None, (), aggregate=False)
    with pytest.raises(SpecError, match=r"dice: expected a protocol of standard, .*, got 'medlib'"):
        run([], "dice", "medlib", (), aggregate=False)
    with pytest.raises(SpecError, match=r"--param: no parameter 'k': dice \(standard\) has none"):
        run([], "dice", None, ("k=5",), aggregate=False)
