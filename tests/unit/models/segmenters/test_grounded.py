"""`grounded:`: boxes of a text model, read in its declared dialect, become the masks of a segmenter."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from harness.errors import ModelError, SpecError
from harness.imaging import masks
from harness.models import resolve
from harness.models.segmenters.grounded import Grounded
from harness.models.segmenters.sam import Sam
from harness.records import Answer, Box, Points, PredictedEntity, Request
from tests.unit.models.segmenters.test_sam import BOX, asked, one, picture, refused

Folder = Callable[[str], Path]
Load = Callable[[str], Sam]

QWEN = {"reply": "qwen2_5_vl", "frame": "pixels"}


def said(boxes: Any) -> str:
    """Return a reply in the dialect of Qwen2.5-VL."""
    return f"```json\n{json.dumps(boxes)}\n```"


def grounded(folder: Path, reply: str, **arguments: Any) -> Grounded:
    """Return a model whose text part replies `reply`, ready to predict."""
    adapter = Grounded(f"scripted+sam:{folder}", **{"text": {"text": reply}, **QWEN, **arguments})
    adapter.load("cpu")
    return adapter


def identity(model: str, **arguments: Any) -> dict[str, Any]:
    """Return the identity of the model that a reference and its arguments name."""
    reference = resolve.parse(model, arguments)
    adapter = resolve.build(reference)
    return resolve.identity(reference, adapter, resolve.capabilities_of(reference, adapter))


def test_a_box_in_words_becomes_the_mask_of_the_segmenter(folder: Folder, loaded: Load) -> None:
    shown, reply = picture(), said([{"bbox_2d": [20, 9, 61, 40], "label": "liver"}, {"bbox_2d": [0, 0, 30, 40]}])
    adapter = grounded(folder("sam"), reply)
    answer = one(adapter, asked(shown))
    direct = one(loaded("sam"), asked(shown, BOX, Box(corners=(0.0, 0.0, 30.0, 40.0))))
    assert [mask.tobytes() for mask in answer.masks] == [mask.tobytes() for mask in direct.masks]
    assert answer.mask_scores == direct.mask_scores
    assert answer.text == reply
    assert [box.corners for box in answer.boxes] == [(20, 9, 61, 40), (0, 0, 30, 40)]
    assert answer.read_as == "qwen2_5_vl in pixels (version 1)"
    assert answer.entities == []  # the second box has no name


def test_masks_are_named_as_the_reply_names_them(folder: Folder) -> None:
    adapter = grounded(folder("sam"), said([{"bbox_2d": [20, 9, 61, 40], "label": "liver"}]))
    assert one(adapter, asked(picture())).entities == [PredictedEntity(name="liver", mask=0)]


def test_points_are_prompts_where_there_is_no_box(folder: Folder, loaded: Load) -> None:
    adapter = grounded(folder("sam"), said([{"point_2d": [30, 20], "label": "x"}]))
    shown = picture()
    answer = one(adapter, asked(shown))
    direct = one(loaded("sam"), asked(shown, Points(points=((30.0, 20.0),), labels=(1,))))
    assert np.array_equal(answer.masks[0], direct.masks[0])


def test_nothing_there_is_an_empty_mask_and_an_unread_reply_none(folder: Folder) -> None:
    nothing = one(grounded(folder("sam"), said([])), asked(picture()))
    assert [masks.area(mask) for mask in nothing.masks] == [0]
    unread = one(grounded(folder("sam"), "I see a liver."), asked(picture()))
    assert list(unread.masks) == []


def test_what_wants_no_masks_is_asked_of_the_text_model_alone(folder: Folder) -> None:
    adapter = grounded(folder("sam"), said([{"bbox_2d": [20, 9, 61, 40]}]))
    answer = one(adapter, replace(asked(picture()), wants=("boxes",)))
    assert [box.corners for box in answer.boxes] == [(20, 9, 61, 40)]
    assert list(answer.masks) == []
    assert refused(adapter, Request(wants=("masks",))) == "the request holds no image to segment"


def test_failures_of_a_part_are_those_of_the_answer(folder: Folder) -> None:
    failing = grounded(folder("sam"), "", text={"fail_every": 1})
    assert refused(failing, replace(asked(picture()), sample_id="x")) == "x: told to fail by fail_every"
    adapter = grounded(folder("sam"), said([{"bbox_2d": [20, 9, 61, 40]}]))
    segmenter = adapter.segmenter.adapter
    segmenter._answer = lambda _: None  # type: ignore[attr-defined]
    assert refused(adapter, asked(picture())) == "the segmenter returned NoneType, expected Answer"
    segmenter.predict = lambda _: []  # type: ignore[method-assign]
    with pytest.raises(ModelError, match=r"^sam:.*: predict\(\) returned 0 answers for 1 requests; expected one per"):
        adapter.predict([asked(picture())])


def test_an_error_of_the_segmenter_keeps_what_was_spent(folder: Folder) -> None:
    adapter = grounded(folder("sam"), said([{"bbox_2d": [20, 9, 61, 40]}]))

    def broken(*_: Any) -> None:
        raise ModelError("out of order")

    adapter.segmenter.adapter.segmenter.segment = broken  # type: ignore[attr-defined]
    assert refused(adapter, asked(picture())) == "the segmenter: out of order"


def test_both_parts_and_their_arguments_are_in_the_identity(folder: Folder) -> None:
    reference = f"grounded:scripted+sam:{folder('sam')}"
    plain = identity(reference, **QWEN)
    assert plain["id"] == "grounded:scripted+sam"
    assert str(folder("sam")) not in json.dumps(plain)
    assert [part["weights"] != [] for part in plain["parts"]] == [False, True]
    assert plain["parts"][0]["reply"]["dialect"] == "qwen2_5_vl"
    assert plain == identity(reference, text=QWEN)
    assert plain == identity(reference, text={"sleep": 0}, segmenter={"gpus": 1}, **QWEN)
    others = [
        identity(reference, text={"text": "other"}, **QWEN),
        identity(reference, segmenter={"multimask": False}, **QWEN),
        identity(reference, **{**QWEN, "frame": "unit"}),
        identity(f"grounded:scripted+sam:{folder('sam2')}", **QWEN),
    ]
    assert all(other != plain for other in others)


def test_capabilities_are_those_of_the_text_model_with_masks(folder: Folder) -> None:
    found = grounded(folder("sam"), "").capabilities()
    assert found.takes == {"text", "image", "images", "volume", "point", "box", "region"}
    assert found.gives == {"text", "boxes", "masks"}
    assert found.per_sample
    assert found.max_images == 1000


@pytest.mark.parametrize(
    ("parts", "arguments", "message"),
    [
        ("scripted", QWEN, "--model grounded:scripted: expected TEXT_MODEL+SEGMENTER, as in grounded:hf:Qwen/"),
        ("scripted+", QWEN, "--model grounded:scripted+: expected TEXT_MODEL+SEGMENTER"),
        ("scripted+scripted", {**QWEN, "text": 3}, "--model-args text: expected a JSON object of that part's"),
        ("scripted+scripted", {**QWEN, "segmenter": "x"}, "--model-args segmenter: expected a JSON object"),
        ("scripted+scripted", QWEN, "--model grounded:scripted+scripted: scripted is no segmenter; expected a model"),
        (
            "scripted+baseline:otsu",
            {},
            "scripted gives no boxes or points that can be read; declare the dialect of its replies",
        ),
        ("scripted+baseline:oracle", QWEN, "baseline:oracle is no segmenter"),
        (
            "scripted+baseline:otsu",
            {"reply": "florence2_polygons", "frame": "bins_1000_centre"},
            "scripted gives no boxes or points that can be read",
        ),
    ],
)
def test_what_cannot_be_joined_is_refused(parts: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as error:
        Grounded(parts, **arguments)
    assert message in str(error.value)


def test_both_parts_are_told_of_the_run_and_ended(folder: Folder, tmp_path: Path) -> None:
    adapter, told = grounded(folder("sam"), ""), []
    adapter.text.adapter.begin_run = lambda *given: told.append(given)  # type: ignore[attr-defined]
    adapter.segmenter.adapter.close = lambda: told.append(("closed",))  # type: ignore[attr-defined]
    adapter.begin_run(tmp_path, 9.0)
    adapter.close()
    assert told == [(tmp_path, 9.0), ("closed",)]


def test_an_answer_that_is_none_passes_through(folder: Folder) -> None:
    adapter = grounded(folder("sam"), "")
    assert isinstance(adapter.predict([asked(picture())])[0], Answer)
