"""Reading of submitted predictions: every faulty line is named; the adapter that answers from the file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.imaging import mask_files, masks
from harness.models.answer_check import to_prediction
from harness.models.submitted import prediction_lines
from harness.models.submitted.predictions_file import Predictions, PredictionsFile, Problem, read
from harness.records import Answer, Box, Media, MediaPart, PredictedEntity, Request, Turn

FULL = masks.full((2, 3))
RLE = mask_files.to_json(FULL)


def write(folder: Path, *lines: object) -> PredictionsFile:
    path = folder / "p.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return read(path)


def request(sample_id: str = "s/1", repeat: int = 0) -> Request:
    image = MediaPart(media=Media(path="a.png", sha256="0", size=(2, 3)))
    return Request(
        sample_id=sample_id,
        repeat=repeat,
        wants=("masks",),
        messages=(Turn(role="user", parts=(image,)),),
        candidates=("a", "b"),
    )


def answer(hand_in: PredictionsFile, asked: Request | None = None) -> Answer:
    with hand_in.path.open("rb") as file:
        return hand_in.answer(asked or request(), file)


def error(folder: Path, **line: Any) -> str:
    found = answer(write(folder, {"sample_id": "s/0"}, {"sample_id": "s/1", **line})).error
    assert found is not None
    assert found.type == "DataError"
    return found.message


def test_every_field_reaches_the_answer(tmp_path: Path) -> None:
    hand_in = write(
        tmp_path,
        {
            "sample_id": "s/1",
            "text": "left",
            "choice": "A",
            "masks": [RLE, [[0, 1, 0], [0, 0, 0]]],
            "mask_scores": [1, 0.5, 0.25],
            "entities": [{"name": "lung", "mask": 1}, {"name": "heart", "mask": RLE}, {"name": "rib", "mask": None}],
            "boxes": [[0, 0, 1, 2]],
            "nll": [0.5, 1],
            "nll_tokens": [3, 2],
            "embedding": [[1, 0], [0, 1]],
            "status": "truncated",
            "repeat": 0,
        },
    )
    assert hand_in.problems == []
    found = answer(hand_in)
    small = mask_files.from_json([[0, 1, 0], [0, 0, 0]], where="test")
    assert found == Answer(
        text="left",
        choice="A",
        masks=(FULL, small, FULL),
        mask_scores=[1, 0.5, 0.25],
        entities=(
            PredictedEntity(name="lung", mask=1),
            PredictedEntity(name="heart", mask=2),
            PredictedEntity(name="rib"),
        ),
        boxes=(Box(corners=(0, 0, 1, 2)),),
        nll=[0.5, 1],
        nll_tokens=[3, 2],
        embedding=[[1, 0], [0, 1]],
        status="truncated",
    )


def test_lines_are_found_by_sample_and_repetition(tmp_path: Path) -> None:
    hand_in = write(
        tmp_path,
        {"sample_id": "s/2", "text": "ä"},
        "",
        {"sample_id": "s/1", "repeat": 1, "text": "b"},
        {"sample_id": "s/1", "text": "c"},
    )
    assert [answer(hand_in, request(*slot)).text for slot in (("s/1", 0), ("s/1", 1), ("s/2", 0))] == ["c", "b", "ä"]
    assert hand_in.lines["s/1", 1][0] == 3


@pytest.mark.parametrize(
    ("line", "sample_id", "expected"),
    [
        (
            '{"sample_id": "s/1", "text": "le',
            "s/1",
            "cannot be read as JSON (Unterminated string starting at, column 30); its sample counts as missing",
        ),
        ("[1, 2]", None, "expected a JSON object, found list; its sample counts as missing"),
        ('{"text": "left"}', None, "has no sample_id; its sample counts as missing"),
        ('{"sample_id": 12}', None, "sample_id: expected text, found 12; its sample counts as missing"),
        (
            '{"sample_id": "s/1", "repeat": true}',
            "s/1",
            "repeat: expected a whole number of at least 0, found True; its sample counts as missing",
        ),
        (
            '{"sample_id": "s/1", "mask": []}',
            "s/1",
            "unknown field 'mask' (did you mean 'masks'?); the field is ignored",
        ),
        ('{"sample_id": "s/0"}', "s/0", "answered before on line 1, which counts; this line is ignored"),
    ],
)
def test_a_line_that_cannot_count_is_named_and_the_rest_is_read(
    line: str, sample_id: str | None, expected: str, tmp_path: Path
) -> None:
    hand_in = write(tmp_path, {"sample_id": "s/0", "text": "first"}, line, {"sample_id": "s/3", "text": "last"})
    assert hand_in.problems == [Problem(line=2, sample_id=sample_id, message=expected)]
    assert str(hand_in.problems[0]).startswith(f"line 2: {sample_id}: " if sample_id else "line 2: ")
    assert [answer(hand_in, request(name)).text for name in ("s/0", "s/3")] == ["first", "last"]


@pytest.mark.parametrize(
    ("line", "sample_id", "expected"),
    [
        (b'{"sample_id": "s/1", "text": "\xff"}', "s/1", "cannot be read as JSON (byte 31 is not UTF-8)"),
        (b"[" * 100_000, None, "cannot be read as JSON (lists or objects are nested too deeply)"),
        (
            b'{"sample_id": "s/1", "nll": [' + b"9" * 5000 + b"]}",
            "s/1",
            "cannot be read as JSON (a number has thousands of digits)",
        ),
        (
            b'{"sample_id": "\\ud800", "text": "a"}',
            None,
            "sample_id: expected Unicode text, found half of a surrogate pair",
        ),
        (b'{"sample_id": "s/1", "text": "a", "text": "b"}', "s/1", "holds the key 'text' twice"),
        (b'{"sample_id": "s/1", "grid": {"\\ud800": 1, "\\ud800": 2}}', "s/1", "holds the key '\\ud800' twice"),
        (
            b'{"sample_id": "s/1", "text": "a\tb"}',
            "s/1",
            "cannot be read as JSON (Invalid control character at, column 32)",
        ),
        (b'{"sample_id": "s\x1b[2J", "text": "a}', "s\\x1b[2J", "cannot be read as JSON (Invalid control character at"),
        (
            b'{"sample_id": "' + b"s" * 1001 + b'"}',
            None,
            "sample_id: expected at most 1000 characters, found 1001",
        ),
        (
            b'{"sample_id": "s/1", "repeat": ' + b"-" + b"9" * 4000 + b"}",
            "s/1",
            "repeat: expected a whole number of at least 0, found -9999",
        ),
    ],
    ids=lambda _: "",
)
@pytest.mark.parametrize("first", [True, False])
def test_no_line_stops_the_others(
    line: bytes, sample_id: str | None, expected: str, first: bool, tmp_path: Path
) -> None:
    path = tmp_path / "p.jsonl"
    good = b'{"sample_id": "s/0", "text": "a"}\r\n', b'{"sample_id": "s/2", "text": "c"}\r\n'
    path.write_bytes(line + b"\n" + good[0] + good[1] if first else good[0] + line + b"\n" + good[1])
    Predictions(str(path)).capabilities()  # as a whole the file holds JSON lines
    found = read(path)
    (problem,) = found.problems
    assert (problem.line, problem.sample_id) == (1 if first else 2, sample_id)
    assert problem.message.startswith(expected)
    str(problem).encode()
    assert [answer(found, request(name)).text for name in ("s/0", "s/2")] == ["a", "c"]


def test_a_line_above_the_cap_is_never_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_lines, "MOST_LINE_BYTES", 64)
    monkeypatch.setattr(prediction_lines, "KEPT_OF_A_LONG_LINE", 32)
    path = tmp_path / "p.jsonl"
    path.write_bytes(
        b'{"sample_id": "s/1", "text": "' + b"a" * 300 + b'"}\n{"sample_id": "s/2", "text": "b"}\n'
        b'{"sample_id": "s/3", "text": "' + b"c" * 40
    )
    with path.open("rb") as file:
        sizes = [(line.number, line.size, len(line.content)) for line in prediction_lines.lines_of(file)]
    assert sizes == [(1, 333, 32), (2, 34, 34), (3, 70, 32)]
    found = read(path)
    assert [str(problem) for problem in found.problems] == [
        f"line {number}: {name}: has {size} bytes; expected at most 64. Masks of this size belong in files of their "
        "own; its sample counts as missing"
        for number, name, size in ((1, "s/1", 333), (3, "s/3", 70))
    ]
    assert answer(found, request("s/2")).text == "b"


def test_a_text_above_the_cap_costs_its_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_lines, "MOST_TEXT", 5)
    assert error(tmp_path, text="123456") == "p.jsonl:2: text: expected at most 5 characters, found 6"
    assert error(tmp_path, choice="123456") == "p.jsonl:2: choice: expected at most 5 characters, found 6"


def test_a_value_that_no_check_foresaw_costs_its_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OverflowError("too large")

    monkeypatch.setattr(prediction_lines, "to_answer", fails)
    assert error(tmp_path, text="a") == "p.jsonl:2: cannot be read (OverflowError: too large)"


def test_of_many_unknown_fields_the_first_are_named(tmp_path: Path) -> None:
    found = write(tmp_path, {"sample_id": "s/1", **{f"\ud800{number}": 1 for number in range(9)}})
    assert [str(problem) for problem in found.problems][-2:] == [
        "line 1: s/1: unknown field '\\ud8004'; the field is ignored",
        "line 1: s/1: 4 more unknown fields; they are ignored",
    ]
    assert len(found.problems) == 6


def test_lines_that_answer_nothing_of_the_run_are_named(tmp_path: Path) -> None:
    hand_in = write(tmp_path, {"sample_id": "s/1"}, {"sample_id": "s/9"}, {"sample_id": "s/1", "repeat": 2})
    assert [str(problem) for problem in hand_in.unknown({("s/1", 0)})] == [
        "line 2: s/9: no task of this run has this sample_id; the line is ignored",
        "line 3: s/1: no task of this run has repeat 2 of this sample; the line is ignored",
    ]


def test_a_missing_sample_is_a_failure_that_names_the_file(tmp_path: Path) -> None:
    hand_in = write(tmp_path, {"sample_id": "s/1"})
    for asked, expected in (
        (request("s/2"), "p.jsonl: no line answers this sample"),
        (request("s/1", 1), "p.jsonl: no line answers this sample, repeat 1"),
    ):
        found = answer(hand_in, asked).error
        assert found is not None
        assert found.message == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            {"masks": [{"size": [3, 2], "counts": "06"}]},
            "masks[0]: predicted mask is (3, 2), image is (2, 3) as (H, W)",
        ),
        ({"masks": [RLE, {"size": [2, 3], "counts": "1"}]}, "masks[1]: counts: expected runs that sum to 2 x 3 = 6"),
        ({"masks": [[[0, 0.5, 1], [0, 0, 0]]]}, "masks[0]: expected bool or 0/1 integers, found float64"),
        ({"masks": [7]}, "masks[0]: expected a mask as an object or as nested lists, found int"),
        ({"masks": RLE}, "masks: expected a list, found dict"),
        ({"masks": [{"path": "../a.png"}]}, "masks[0].path: expected a path below the predictions file's folder"),
        ({"masks": [{"path": "/a.png"}]}, "masks[0].path: expected a path below the predictions file's folder"),
        ({"masks": [{"path": 3}]}, "masks[0].path: expected a path below the predictions file's folder, found 3"),
        ({"masks": [{"path": "a.png"}]}, "masks[0]: mask file a.png is missing"),
        ({"masks": [{"path": "a.png", "label": 0}]}, "masks[0]: label: expected an integer >= 1, found 0"),
        (
            {"masks": [{"path": "a.png", "treshold": 0.5}]},
            "masks[0]: expected a mask file with path, label, threshold, found 'treshold' (did you mean 'threshold'?)",
        ),
        ({"masks": [{"path": "a.png", "threshold": "0.5"}]}, "masks[0]: threshold: expected a number in the values of"),
        ({"mask_scores": [float("nan")]}, "mask_scores[0]: expected a finite number, found nan"),
        ({"mask_scores": ["1"]}, "mask_scores[0]: expected a finite number, found '1'"),
        ({"masks": [RLE], "mask_scores": [1, 1]}, "mask_scores: expected one per mask (1), found 2"),
        ({"nll": [1]}, "nll: expected one per candidate (2), found 1"),
        ({"nll": 1}, "nll: expected a list, found int"),
        ({"boxes": [3]}, "boxes[0]: expected a list of numbers, found int"),
        ({"boxes": [[0, 0, 1]]}, "boxes[0]: expected Box(corners=...) with 4 numbers"),
        ({"boxes": [[0, 0, 1, None]]}, "boxes[0].corners[3]: expected a finite number, found None"),
        ({"embedding": [1, 2]}, "embedding[0]: expected a list, found int"),
        ({"text": float("nan")}, "text: expected text or None, found float"),
        ({"text": "\ud800"}, "text: expected Unicode text, found half of a surrogate pair at character 0"),
        ({"entities": [{"name": "\ud800"}]}, "entities[0].name: expected Unicode text, found half of a surrogate pair"),
        (
            {"status": "\ud800"},
            r"status: expected one of ok, truncated, refused, empty, model_error, timeout, found '\ud800",
        ),
        ({"masks": [{"path": "\ud800.png"}]}, "masks[0].path: expected a path below the predictions file's folder"),
        ({"nll": [10**400, 1]}, "nll[0]: expected a finite number, found 1000"),
        ({"boxes": [[0, 0, 1, 10**400]]}, "boxes[0].corners[3]: expected a finite number, found 1000"),
        ({"masks": [{"size": [10**400, 2], "counts": "06"}]}, "masks[0]: size: "),
        ({"choice": 1}, "choice: expected text or None, found int"),
        ({"masks": [{"path": "a\x1b[2J.png"}]}, r"masks[0]: mask file a\x1b[2J.png is missing"),
        ({"entities": [{"name": "n" * 1001}]}, "entities[0].name: expected at most 1000 characters, found 1,001"),
        ({"entities": [{"mask": 0}]}, 'entities[0]: expected {"name": text, "mask": index, mask or null}, found'),
        (
            {"entities": [{"name": "lung", "mask": 0}]},
            "entities[0].mask: expected None or an index into the 0 masks, found 0",
        ),
        ({"entities": [{"name": "lung", "mask": {"size": [2, 3]}}]}, "entities[0].mask: expected a mask with one of"),
        (
            {"status": "fine"},
            "status: expected one of ok, truncated, refused, empty, model_error, timeout, found 'fine'",
        ),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_malformed_answer_names_its_line(line: dict[str, Any], expected: str, tmp_path: Path) -> None:
    assert error(tmp_path, **line).startswith(f"p.jsonl:2: {expected}")


def test_masks_may_be_files_next_to_the_predictions(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    Image.fromarray(np.array([[0, 1, 2], [2, 2, 0]], dtype=np.uint8)).save(tmp_path / "masks" / "a.png")
    line = {"sample_id": "s/1", "masks": [{"path": "masks/a.png"}, {"path": "masks/a.png", "label": 2}]}
    found = [masks.decode(mask).astype(int).tolist() for mask in answer(write(tmp_path, line)).masks]
    assert found == [[[0, 1, 1], [1, 1, 0]], [[0, 0, 1], [1, 1, 0]]]


def test_a_mask_off_its_volume_is_refused_unless_the_line_has_a_grid(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag((2.0, 2.0, 3.0, 1.0))
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 3, 2), dtype=np.uint8), affine), tmp_path / "a.nii.gz")
    moved = affine.copy()
    moved[0, 3] = 7
    record = Media(path="v.nii.gz", sha256="0", kind="volume", size=(2, 3, 4), affine=tuple(moved.ravel().tolist()))
    asked = Request(sample_id="s/1", wants=("masks",), messages=(Turn(role="user", parts=(MediaPart(media=record),)),))
    line: dict[str, Any] = {"sample_id": "s/1", "masks": [{"path": "a.nii.gz"}]}
    refused = answer(write(tmp_path, line), asked).error
    assert refused is not None
    words = (
        "p.jsonl:1: masks[0]: a.nii.gz: frame_mismatch: the mask does not lie on its volume, "
        "corners lie up to 7 mm apart"
    )
    assert refused.message == words
    line["grid"] = {"size": [2, 3, 4], "affine": affine.ravel().tolist()}
    found = answer(write(tmp_path, line), asked)
    assert found.error is None
    assert found.masks == (masks.full((2, 3, 4)),)
    # The volume's own place counts again where the image is another.
    line["grid"]["affine"] = moved.ravel().tolist()
    refused = answer(write(tmp_path, line), asked).error
    assert refused is not None
    assert refused.message == words


def test_what_is_changed_in_reading_a_mask_file_is_a_remark_of_the_answer(tmp_path: Path) -> None:
    soft = np.zeros((40, 30), dtype=np.uint8)
    soft[10:30, 8:22] = 255
    soft[9, 8:22] = soft[30, 8:22] = 90
    Image.fromarray(soft).save(tmp_path / "a.png")
    image = MediaPart(media=Media(path="a.png", sha256="0", size=(40, 30)))
    asked = Request(sample_id="s/1", wants=("masks",), messages=(Turn(role="user", parts=(image,)),))
    found = answer(write(tmp_path, {"sample_id": "s/1", "masks": [{"path": "a.png"}]}), asked)
    assert found.error is None
    (remark,) = found.remarks
    assert remark.startswith("masks[0]: a.png: ")
    assert to_prediction(asked, found, 0.0).remarks == (remark,)


@pytest.mark.parametrize(("status", "kind"), [("model_error", "Submitted"), ("timeout", "Timeout")])
def test_a_failure_may_be_submitted(status: str, kind: str, tmp_path: Path) -> None:
    found = answer(write(tmp_path, {"sample_id": "s/1", "status": status, "text": "left"})).error
    assert found is not None
    assert (found.type, found.message) == (kind, f"submitted as {status}")


def test_a_submitted_failure_says_why(tmp_path: Path) -> None:
    found = answer(write(tmp_path, {"sample_id": "s/1", "status": "model_error", "error": "out of memory\x1b"})).error
    assert found is not None
    assert found.message == "out of memory\\x1b"


def test_an_answer_submitted_as_empty_holds_nothing(tmp_path: Path) -> None:
    assert answer(write(tmp_path, {"sample_id": "s/1", "status": "empty", "text": "x"})) == Answer()


def test_a_missing_file_says_what_was_expected() -> None:
    with pytest.raises(DataError, match=r"--predictions nowhere\.jsonl: no such file; expected JSON lines, see docs/"):
        read(Path("nowhere.jsonl"))


# --- the adapter


def test_each_request_gets_its_line_and_a_missing_one_an_error(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/1", "text": "one"}\n{"sample_id": "s/2", "repeat": 1, "text": "two"}\n')
    model = Predictions(str(file))
    model.load("cpu")
    answers = model.predict([Request(sample_id="s/2", repeat=1), Request(sample_id="s/1"), Request(sample_id="s/3")])
    assert [answer.text for answer in answers] == ["two", "one", None]
    assert answers[2].error is not None
    assert answers[2].error.message == "p.jsonl: no line answers this sample"


def test_it_is_told_apart_by_the_files_bytes_and_asked_by_sample(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"sample_id": "s/1"}')
    capabilities = Predictions(str(tmp_path / "p.jsonl")).capabilities()
    assert capabilities.weights == (str(tmp_path / "p.jsonl"),)
    assert capabilities.per_sample
    assert capabilities.batch_invariant
    assert capabilities.gives == {"text", "masks", "boxes", "nll", "embedding"}


def test_an_edited_mask_file_makes_another_model(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.png").write_bytes(b"one")
    file = tmp_path / "p.jsonl"
    file.write_text(
        '{"sample_id": "s/1", "masks": [{"path": "masks/a.png"}]}\n'
        '{"sample_id": "s/2", "entities": [{"name": "liver", "mask": {"path": "masks/absent.png"}}]}\n'
        '{"sample_id": "s/3", "masks": [{"path": "../outside.png"}]}\n'
        '{"path": broken\n'
    )
    before = Predictions(str(file)).version
    assert before.startswith("1+")
    assert Predictions(str(file)).version == before
    (tmp_path / "masks" / "a.png").write_bytes(b"two")
    assert Predictions(str(file)).version != before


def test_without_mask_files_the_version_is_the_adapters(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/1", "text": "yes"}\n')
    assert Predictions(str(file)).version == "1"
    assert Predictions(str(tmp_path / "absent.jsonl")).version == "1"


def test_the_adapter_reports_faulty_and_unasked_lines_by_number_loaded_or_not(tmp_path: Path) -> None:
    file = tmp_path / "p.jsonl"
    file.write_text('{"sample_id": "s/9"}\n[]\n{"sample_id": "s/1"}\n{"sample_id": "s/1", "repeat": 2}\n')
    model = Predictions(str(file))
    before = model.submission_problems({("s/1", 0)})
    assert [str(problem) for problem in before] == [
        "line 1: s/9: no task of this run has this sample_id; the line is ignored",
        "line 2: expected a JSON object, found list; its sample counts as missing",
        "line 4: s/1: no task of this run has repeat 2 of this sample; the line is ignored",
    ]
    model.load("cpu")
    assert model.submission_problems({("s/1", 0)}) == before
    assert [problem.line for problem in model.submission_problems({("s/1", 0), ("s/1", 2), ("s/9", 0)})] == [2]


def test_the_adapter_of_a_file_that_is_gone_has_no_problems_to_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl: no such file"):
        Predictions(str(tmp_path / "absent.jsonl")).submission_problems(set())
