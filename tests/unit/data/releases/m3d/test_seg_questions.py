"""M3D's question on one class of a volume, and the answer that a perfect model gives."""

import json

import numpy as np
import pytest

from harness.data.releases.images import ReleaseImage, ReleaseMask
from harness.data.releases.m3d.seg_layout import Entry
from harness.data.releases.m3d.seg_questions import Questioner, Scene
from harness.data.releases.m3d.wording import ASKS, PARTS, Asks, Kind, Wording
from harness.imaging.masks import encode
from harness.records import Box, Media

# Templates that name themselves, with one slot for each thing that may be filled in.
WORDING = Wording(
    name="test",
    box="<{}>",
    lists={asks: {part: [f"{asks}/{part} {{}} {{}}"] for part in PARTS} for asks in ASKS},
)


def scene(*, shown: bool = True, defect: str | None = None) -> Scene:
    pixels = np.zeros((32, 256, 256), dtype=np.bool_)
    if shown:
        pixels[8:16, 64:128, 0:64] = True
    return Scene(
        entry=Entry(place="p", code="0003", case="c", image="i", label="l"),
        volume=ReleaseImage(media=Media(path="i", sha256="0", kind="volume", size=pixels.shape)),
        index=0,
        name="liver",
        release_mask=ReleaseMask(defect=defect) if defect else ReleaseMask(mask=encode(pixels), area=int(pixels.sum())),
        defect=defect,
    )


def questioner(asks: Asks, kind: Kind, *, named: bool = False) -> Questioner:
    return Questioner(wording=WORDING, asks=asks, kind=kind, sample_id="s", definition="Makes bile.", named=named)


def test_a_scene_has_a_half_open_box_if_it_shows_its_class() -> None:
    assert scene().box == Box(corners=(8, 64, 0, 16, 128, 64))
    assert (scene().absent, scene(shown=False).absent, scene(defect="torn").absent) == (False, True, False)
    assert scene(shown=False).box is None
    assert scene(defect="torn").box is None


@pytest.mark.parametrize(
    ("asks", "kind", "question"),
    [
        ("segmentation", "category", "segmentation/cls_questions liver {}"),
        ("segmentation", "definition", "segmentation/des_questions Makes bile. {}"),
        ("rec", "category", "rec/cls_questions liver {}"),
        ("reg", "category", "reg/cls_questions <box> {}"),
        ("reg", "definition", "reg/des_questions <box> {}"),
    ],
)
def test_a_question_names_the_class_its_definition_or_a_box(asks: Asks, kind: Kind, question: str) -> None:
    filled = questioner(asks, kind).question(scene())
    assert filled.split() == question.replace("{}", "").split()


def test_without_a_box_the_class_is_asked_for_as_in_rec() -> None:
    assert questioner("reg", "category").question(scene(shown=False)).startswith("rec/cls_questions liver")


@pytest.mark.parametrize(
    ("asks", "kind", "words"),
    [
        ("segmentation", "category", ["segmentation/cls_answers"]),
        ("segmentation", "definition", ["segmentation/des_answers", "liver"]),
        ("reg", "category", ["reg/cls_answers", "liver"]),
        ("reg", "definition", ["reg/des_answers", "liver", "Makes", "bile."]),
    ],
)
def test_an_answer_fills_what_the_question_left_open(asks: Asks, kind: Kind, words: list[str]) -> None:
    (answer,) = questioner(asks, kind).target(scene()).answers
    assert answer.split() == words


def test_a_box_is_answered_in_the_frame_of_the_volume_and_in_words() -> None:
    target = questioner("rec", "category").target(scene())
    assert target.boxes == (Box(corners=(8, 64, 0, 16, 128, 64)),)
    text = target.answers[0].partition("<")[2].partition(">")[0]
    assert all(0 <= number <= 1 for number in json.loads(text))
    assert len(json.loads(text)) == 6


@pytest.mark.parametrize("asks", ASKS)
def test_an_absent_class_is_denied(asks: Asks) -> None:
    target = questioner(asks, "category").target(scene(shown=False))
    assert (target.absent, target.boxes) == (True, ())
    assert target.answers[0].startswith(f"{asks}/cls_no_answers liver")
    assert questioner(asks, "category", named=True).target(scene(shown=False)).answers == ("no",)
    assert questioner(asks, "category", named=True).target(scene()).answers == ("liver",)


def test_only_segmentation_has_a_mask_as_its_target() -> None:
    masks = {asks: questioner(asks, "category").target(scene()).entities[0].mask for asks in ASKS}
    assert {asks for asks, mask in masks.items() if mask is not None} == {"segmentation"}
