"""The lines between the harness and a model's process: requests out, `ready` and answers in."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.errors import ModelError
from harness.imaging import masks
from harness.imaging.media_store import MediaStore, with_handles
from harness.models.answer_check import to_prediction
from harness.models.process.child import BEGINS_AS_JSON, OutOfStepError
from harness.models.process.lines import ANSWER_FIELDS, Ready, ids_of, read_answers, read_ready, requests_line
from harness.records import (
    Answer,
    Box,
    Json,
    Media,
    MediaPart,
    Points,
    PredictedEntity,
    Region,
    Request,
    TextPart,
    Turn,
)
from harness.records.codec import mask_to_json, sha256_file

SIZE = (3, 5)
SQUARE = np.array([[0, 1, 1, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)


def line(value: Json) -> bytes:
    return json.dumps(value).encode() + b"\n"


@pytest.fixture
def request_of_an_image(tmp_path: Path) -> Request:
    Image.fromarray(np.zeros((*SIZE, 3), dtype=np.uint8)).save(tmp_path / "scan.png")
    media = Media(path="scan.png", sha256=sha256_file(tmp_path / "scan.png"), size=SIZE, spacing_mm=(0.5, 0.7))
    request = Request(
        wants=("masks",),
        messages=(Turn(role="user", parts=(MediaPart(media=media), TextPart(text="Wo ist die Läsion?"))),),
        visual_prompts=(
            Box(corners=(1, 0, 3, 2)),
            Points(points=((1, 0),), labels=(1,)),
            Region(mask=masks.encode(SQUARE)),
        ),
        decoding={"max_new_tokens": 8},
        seed=7,
        key="a" * 64,
    )
    return with_handles(request, MediaStore(roots=(tmp_path,)))


def answers(value: Json, requests: list[Request], folder: Path) -> list[Answer]:
    return read_answers(line(value), requests, ids_of(requests), folder)


def error_of(item: dict[str, Json], request: Request, folder: Path) -> str:
    """Return the message with which one answer is stored as an error."""
    (answer,) = answers({"answers": [{"id": request.key, **item}]}, [request], folder)
    prediction = to_prediction(request, answer, 0.0)
    assert prediction.error is not None
    return f"{prediction.status}: {prediction.error.message}"


def test_a_request_is_one_line_with_paths_and_plain_numbers(request_of_an_image: Request, tmp_path: Path) -> None:
    content = requests_line([request_of_an_image], ["a"], tmp_path)
    assert content.endswith(b"}\n")
    assert content.count(b"\n") == 1
    assert "Läsion".encode() in content
    sent: Any = json.loads(content)
    (one,) = sent["requests"]
    assert sent["folder"] == str(tmp_path)
    assert (one["id"], one["kind"], one["wants"], one["prompt"]) == ("a", "generate", ["masks"], "Wo ist die Läsion?")
    path = str(tmp_path / "scan.png")
    assert (one["images"], one["volumes"]) == ([path], [])
    assert one["media"] == [
        {"kind": "image", "path": path, "size": [3, 5], "spacing_mm": [0.5, 0.7], "affine": None},
    ]
    assert one["messages"] == [{"role": "user", "parts": [{"image": path}, {"text": "Wo ist die Läsion?"}]}]
    assert (one["decoding"], one["seed"], one["repeat"]) == ({"max_new_tokens": 8}, 7, 0)
    box, points, region = one["visual_prompts"]
    assert (box, points) == ({"box": [1, 0, 3, 2]}, {"points": [[1, 0]], "labels": [1]})
    assert region["region"] == mask_to_json(masks.encode(SQUARE))
    assert np.array_equal(np.asarray(Image.open(region["path"])), SQUARE * np.uint8(255))


def test_a_region_of_a_volume_is_written_as_npy(tmp_path: Path) -> None:
    voxels = np.zeros((2, 3, 4), dtype=bool)
    voxels[1, 2, 3] = True
    asked = Request(visual_prompts=(Region(mask=masks.encode(voxels)),))
    sent: Any = json.loads(requests_line([asked], ["a"], tmp_path))
    assert np.array_equal(np.load(sent["requests"][0]["visual_prompts"][0]["path"]), voxels)


def test_ids_are_keys_and_differ() -> None:
    asked = [Request(key="a"), Request(key="b"), Request(key="a"), Request()]
    assert ids_of(asked) == ["a-0", "b", "a-2", "request-3"]


def test_answers_go_to_their_requests_in_any_order(tmp_path: Path) -> None:
    asked = [Request(key="a"), Request(key="b")]
    found = answers(
        {"answers": [{"id": "b", "text": "two"}, {"id": "a", "text": "one", "error": None}]}, asked, tmp_path
    )
    assert [answer.text for answer in found] == ["one", "two"]


@pytest.mark.parametrize("form", ["lists", "run lengths", "uncompressed", "relative", "absolute", "label"])
def test_a_mask_is_run_lengths_or_a_file(request_of_an_image: Request, tmp_path: Path, form: str) -> None:
    Image.fromarray(SQUARE * np.uint8(255)).save(tmp_path / "mask.png")
    Image.fromarray(SQUARE * np.uint8(2)).save(tmp_path / "labels.png")
    mask: Json = {
        "lists": SQUARE.astype(int).tolist(),
        "run lengths": mask_to_json(masks.encode(SQUARE)),
        "uncompressed": {"size": [3, 5], "counts": [3, 2, 1, 2, 7]},
        "relative": "mask.png",
        "absolute": {"path": str(tmp_path / "mask.png")},
        "label": {"path": "labels.png", "label": 2},
    }[form]
    item = {"id": request_of_an_image.key, "masks": [mask], "entities": [{"name": "cyst", "mask": mask}]}
    (answer,) = answers({"answers": [item]}, [request_of_an_image], tmp_path)
    assert [masks.decode(found).tolist() for found in answer.masks] == [SQUARE.tolist()] * 2
    assert answer.entities == (PredictedEntity(name="cyst", mask=1),)
    assert to_prediction(request_of_an_image, answer, 0.0).status == "ok"


def test_other_fields_arrive(tmp_path: Path) -> None:
    item = {
        "id": "a",
        "text": "yes",
        "boxes": [[0, 0, 1, 1]],
        "nll": [0.5],
        "embedding": [[1.0], [2.0]],
        "usage": {"tokens": 3},
        "rendered": "Q: yes?",
        "status": "truncated",
        "mask": [],
    }
    (answer,) = answers({"answers": [item]}, [Request(key="a")], tmp_path)
    assert (answer.text, answer.status, answer.rendered, answer.usage) == ("yes", "truncated", "Q: yes?", {"tokens": 3})
    assert (answer.boxes, answer.nll) == ((Box(corners=(0, 0, 1, 1)),), [0.5])
    assert answer.remarks == ("unknown field 'mask' (did you mean 'masks'?) in the answer; it is passed over",)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"error": "CUDA out of memory"}, "model_error: CUDA out of memory"),
        ({"error": {"type": "Timeout", "message": "too slow"}}, "timeout: too slow"),
        ({"error": {"code": 5}}, 'model_error: {"code": 5}'),
        ({"status": "timeout"}, "timeout: the process says timeout"),
        ({"masks": ["gone.png"]}, "model_error: masks[0]: mask file gone.png is missing; expected it at"),
        ({"masks": [{"path": 3}]}, "model_error: masks[0].path: expected the path of a mask file, found 3"),
        ({"masks": [[[0, 1], [1, 0]]]}, "model_error: masks[0]: predicted mask is (2, 2), image is (3, 5)"),
        ({"masks": "mask.png"}, "model_error: masks: expected a list, found str"),
        ({"masks": [{"counts": 3, "size": [3, 5]}]}, "model_error: masks[0]: counts: expected"),
        ({"boxes": [5]}, "model_error: boxes[0]: expected a list of numbers, found int"),
        ({"text": 5}, "model_error: text: expected text or None, found int"),
        ({"usage": 5}, "model_error: usage: expected a mapping"),
        ({"status": "fine"}, "model_error: status: expected one of ok,"),
        ({"grid": {"size": [{}]}, "masks": [[[0]]]}, "model_error: grid"),
    ],
)
def test_a_fault_of_one_answer_is_its_own(
    request_of_an_image: Request, tmp_path: Path, item: dict[str, Json], message: str
) -> None:
    assert error_of(item, request_of_an_image, tmp_path).startswith(message)


def test_missing_doubled_and_unknown_ids_cost_their_own_requests(tmp_path: Path) -> None:
    asked = [Request(key="a"), Request(key="b"), Request(key="c")]
    listed: Json = [{"id": "a", "text": "1"}, {"id": "b", "text": "2"}, {"id": "b", "text": "3"}, {"id": "d"}, 7]
    first, second, third = answers({"answers": listed}, asked, tmp_path)
    assert first.text == "1"
    assert second.error is not None
    assert second.error.message == "the process answered this request 2 times in one line; expected one answer per id"
    assert third.error is not None
    assert third.error.message == (
        "the process gave no answer to this request; found id 'd', int in place of an object, which no request has"
    )


def test_answers_too_many_are_a_remark(tmp_path: Path) -> None:
    listed: Json = [{"id": "a", "text": "1"}, *({"id": f"x{number}"} for number in range(5))]
    (answer,) = answers({"answers": listed}, [Request(key="a")], tmp_path)
    assert answer.text == "1"
    assert answer.remarks == (
        "answers beside those of the batch are passed over; found id 'x0', id 'x1', id 'x2' and 2 more, which no "
        "request has",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"answers": [{"id": "a"', "in one line of JSON; Expecting ',' delimiter, column 24 of 23"),
        (b'{"answers": [{"id": "a", "text": "\xff"}]}', "byte 35 is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"9" * 5000, "a number has thousands of digits"),
        (b'[{"id": "a"}]', "it is a list"),
        (b'{"answer": []}', "found 'answer' (did you mean 'answers'?); stdout is for answers, print to stderr"),
        (b'{"answers": {}}', "found answers as dict"),
        (b"{}", "found no key"),
        (b"{\n", "in one line of JSON; it goes on in the next line: {"),
        (b'{"error": "out of memory"}', "the process says of the whole line: out of memory"),
        (b'{"error": {"code": 7}, "id": "a"}', 'the process says of the whole line: {"code": 7}'),
        (b'{"ready": true}', "found 'ready'"),
        (b'{"answers": [{"id": "old"}]}', "no answer has the id of a request of this batch; found id 'old'"),
    ],
)
def test_what_is_no_line_of_answers_is_said(content: bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(OutOfStepError) as caught:
        read_answers(content, [Request(key="a")], ["a"], tmp_path)
    assert message in str(caught.value)


def test_ready_is_read_with_and_without_what_is_optional() -> None:
    said: dict[str, Json] = {"ready": True, "takes": ["text", "image"], "gives": ["masks"]}
    bare = Ready(takes=frozenset({"text", "image"}), gives=frozenset({"masks"}))
    assert read_ready(line(said)) == bare
    assert read_ready(line({**said, "weights_from": "somewhere"})) == bare
    more = {"max_batch": 3, "max_images": 2, "batch_invariant": True, "version": "1.2", "sends_data_to": "a.example"}
    found = read_ready(line(said | more))
    assert (found.max_batch, found.max_images, found.batch_invariant) == (3, 2, True)
    assert (found.version, found.sends_data_to) == ("1.2", "a.example")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ready": False, "error": "no licence"}, "the process says that it is not ready: 'no licence'"),
        (
            {"takes": ["images", "txet"]},
            "ready: takes: expected some of box, image, images, point, region, text, volume",
        ),
        ({"takes": ["prior"]}, "found 'prior'"),
        ({"gives": ["mask"]}, "found 'mask' (did you mean 'masks'?)"),
        ({"gives": []}, "ready: gives: expected a list with some of boxes, embedding, masks, nll, text, found []"),
        ({"takes": None}, "ready: takes: expected a list"),
        ({"max_batch": 0}, "ready: max_batch: expected a whole number of at least 1, found 0"),
        ({"max_images": True}, "ready: max_images: expected a whole number of at least 1, found True"),
        ({"batch_invariant": 1}, "ready: batch_invariant: expected true or false, found 1"),
        ({"version": 2}, "ready: version: expected text, found 2"),
        ({"sends_data_to": 2}, "ready: sends_data_to: expected the name of a host, found 2"),
        ({"batch_invarient": True}, "ready: unknown field 'batch_invarient' (did you mean 'batch_invariant'?)"),
    ],
)
def test_a_faulty_ready_line_is_said(change: dict[str, Json], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_ready(line({"ready": True, "takes": ["text"], "gives": ["text"]} | change))
    assert message in str(caught.value)


def test_another_first_line_is_shown() -> None:
    with pytest.raises(ModelError, match=r'expected \{"ready": true.* as the first line of JSON, found \{"answers"'):
        read_ready(b'{"answers": []}\n')


@pytest.mark.parametrize(
    ("content", "is_json"),
    [
        (b'{"answers": []}', True),
        (b'  { "a": 1}', True),
        (b"{}", True),
        (b'[{"id": 1}]', True),
        (b'\xef\xbb\xbf{"answers": []}', True),
        (b"{\r\n", True),
        (b"[\n", True),
        (b"[1/3] batches", False),
        (b"{'loss': 0.3}", False),
        (b"[INFO] loading", False),
        (b"Loading 100%", False),
        (b"\xff\xfe{", False),
        (b"", False),
    ],
)
def test_lines_of_libraries_are_told_from_lines_of_the_protocol(content: bytes, is_json: bool) -> None:
    assert bool(BEGINS_AS_JSON.match(content)) is is_json


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from((*ANSWER_FIELDS, "path", "error")), ANYTHING, max_size=4),
    st.lists(ANYTHING, max_size=2),
)
def test_whatever_an_answer_holds_it_is_stored_or_a_named_error(item: dict[str, Json], others: list[Json]) -> None:
    request = Request(key="a", wants=("masks",))
    content = line({"answers": [{**item, "id": "a"}, *others]})
    (answer,) = read_answers(content, [request], ["a"], Path("/nowhere"))
    prediction = to_prediction(request, answer, 0.0)
    assert prediction.status in ("ok", "empty", "truncated", "refused") or (
        prediction.error and prediction.error.message
    )


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=40) | ANYTHING.map(line))
def test_whatever_a_line_holds_it_is_answers_or_out_of_step(content: bytes) -> None:
    for read in (
        lambda: read_answers(content, [Request(key="a")], ["a"], Path("/nowhere")),
        lambda: read_ready(content),
    ):
        with contextlib.suppress(ModelError):
            assert read()
