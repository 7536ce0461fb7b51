"""The baselines: sensible without learning, the same on every run and whatever the batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import SpecError
from harness.imaging import masks
from harness.imaging.frames import check_box
from harness.imaging.media_store import LocalMedia, MediaStore
from harness.models.answer_check import to_prediction
from harness.models.baselines import BASELINES, build
from harness.records import (
    Answer,
    Box,
    Entity,
    Mask,
    Media,
    MediaPart,
    Points,
    PredictedEntity,
    Prior,
    Region,
    Request,
    Target,
    TextPart,
    Turn,
    VisualPrompt,
)
from harness.records.codec import sha256_file

SIZE = (8, 12)
VOLUME = (4, 8, 12)


def asking(*wants: str, size: tuple[int, ...] = SIZE, key: str = "k", media: Any = None, **given: Any) -> Request:
    kind = "image" if len(size) == 2 else "volume"
    media = media or Media(path="a", sha256="0", kind=kind, size=size)  # type: ignore[arg-type]
    parts = (MediaPart(media=media), TextPart(text="What is it?"))
    return Request(key=key, wants=wants or ("text",), messages=(Turn(role="user", parts=parts),), **given)


def answer(name: str, request: Request, *, by: str | None = None) -> Answer:
    model = build(name, by=by)
    model.load("cpu")
    (found,) = model.predict([request])
    assert to_prediction(request, found, 0.0).status in ("ok", "empty")
    return found


def only_mask(found: Answer) -> np.ndarray:
    (mask,) = found.masks
    return masks.decode(mask) if isinstance(mask, Mask) else mask


# --- empty, oracle, majority


@pytest.mark.parametrize("wants", ["text", "masks", "boxes", "nll"])
def test_empty_says_and_marks_nothing(wants: str) -> None:
    request = asking(wants)
    assert to_prediction(request, answer("empty", request), 0.0).status == "empty"


def test_the_oracle_answers_with_the_target() -> None:
    mask = masks.full(SIZE)
    target = Target(
        answers=("left",),
        choice="B",
        entities=(Entity(name="lung", mask=mask), Entity(name="rib")),
        boxes=(Box(corners=(0, 0, 1, 1)),),
    )
    assert answer("oracle", asking("masks", target=target, oracle="left", candidates=("a", "b", "c"))) == Answer(
        text="left",
        choice="B",
        masks=(mask,),
        mask_scores=(1.0,),
        entities=(PredictedEntity(name="lung", mask=0),),
        boxes=target.boxes,
        nll=(1.0, 0.0, 1.0),
        nll_tokens=(1, 1, 1),
    )


def test_the_oracle_marks_nothing_where_nothing_is_to_be_found() -> None:
    target = Target(entities=(Entity(name="lung", mask=masks.empty(SIZE)),), absent=True)
    assert answer("oracle", asking("masks", target=target)) == Answer()


def test_majority_answers_with_the_prior() -> None:
    prior = Prior(answer="yes", answer_to_question="left", mask=masks.full(SIZE))
    assert answer("majority", asking(prior=prior)).text == "yes"
    assert answer("majority", asking(prior=prior), by="question").text == "left"
    assert answer("majority", asking(prior=Prior(answer="yes")), by="question").text == "yes"
    assert answer("majority", asking("masks", prior=prior)).masks == (masks.full(SIZE),)


def test_majority_chooses_the_letter_of_the_prior_in_the_words_of_the_task() -> None:
    prior = Prior(answer="liver", choice="B", choice_to_question="C")
    words = asking(prior=prior, choices=("liver", "spleen", "lung"))
    assert answer("majority", words).text == "spleen"
    assert answer("majority", words, by="question").text == "lung"
    likelihood = asking("nll", kind="nll", prior=prior, candidates=(" liver.", " spleen.", " lung."))
    assert answer("majority", likelihood).nll == (1.0, 0.0, 1.0)
    assert answer("majority", likelihood, by="question").nll == (1.0, 1.0, 0.0)


def test_majority_without_a_train_letter_chooses_nothing() -> None:
    words = asking(prior=Prior(answer="liver"), choices=("A", "B"))
    assert to_prediction(words, answer("majority", words), 0.0).status == "empty"
    likelihood = asking("nll", kind="nll", prior=Prior(), candidates=(" A.", " B."))
    assert to_prediction(likelihood, answer("majority", likelihood), 0.0).status == "empty"


def test_majority_without_a_train_answer_says_nothing() -> None:
    request = asking(prior=Prior())
    assert to_prediction(request, answer("majority", request), 0.0).status == "empty"


@pytest.mark.parametrize(("name", "needs"), [("oracle", "target"), ("majority", "prior")])
def test_who_needs_more_than_the_question_declares_it(name: str, needs: str) -> None:
    capabilities = build(name).capabilities()
    assert capabilities.per_sample
    assert needs in capabilities.takes


# --- random


def test_random_draws_by_the_key_alone() -> None:
    texts = [answer("random", asking(key=f"{index}")).text for index in range(200)]
    assert 60 < texts.count("yes") < 140
    assert texts.count("yes") + texts.count("no") == 200
    assert texts[:20] == [answer("random", asking(key=f"{index}")).text for index in range(20)]


def test_random_chooses_each_option_as_often_as_the_others() -> None:
    texts = [answer("random", asking(key=f"{index}", choices=("A", "B", "C"))).text for index in range(600)]
    assert {text: 150 < texts.count(text) < 250 for text in set(texts)} == {"A": True, "B": True, "C": True}


@pytest.mark.parametrize("size", [SIZE, VOLUME, (1, 1)])
def test_random_marks_a_rectangle_inside_the_frame(size: tuple[int, ...]) -> None:
    seen = set()
    for index in range(20):
        found = only_mask(answer("random", asking("masks", size=size, key=f"{index}")))
        box = masks.bounding_box(masks.encode(found))
        assert found.shape == size
        assert box is not None
        assert masks.encode(found) == masks.from_box(box, size)
        seen.add(box)
    assert len(seen) > 10 or size == (1, 1)


def test_random_weighs_every_candidate() -> None:
    found = answer("random", asking("nll", candidates=("a", "b", "c")))
    assert len(set(found.nll)) == 3
    assert found.text is None


# --- center-box


@pytest.mark.parametrize(
    ("size", "box"),
    [(SIZE, (3, 2, 9, 6)), (VOLUME, (1, 2, 3, 3, 6, 9)), ((1, 1), (0, 0, 1, 1)), ((5, 3), (0, 1, 1, 3))],
)
def test_center_box_marks_half_of_every_axis(size: tuple[int, ...], box: tuple[int, ...]) -> None:
    found = answer("center-box", asking("masks", size=size))
    assert found.masks == (masks.from_box(Box(corners=box), size),)


@pytest.mark.parametrize(
    ("prompt", "size", "box"),
    [
        (Box(corners=(1, 2, 4, 5)), SIZE, (1, 2, 4, 5)),
        (Region(mask=masks.from_box(Box(corners=(1, 2, 4, 5)), SIZE)), SIZE, (1, 2, 4, 5)),
        (Box(corners=(0, 1, 1, 2, 3, 3)), VOLUME, (0, 1, 1, 2, 3, 3)),
        (Points(points=((1, 1),), labels=(1,)), SIZE, (3, 2, 9, 6)),
        (Region(mask=masks.empty(SIZE)), SIZE, (3, 2, 9, 6)),
    ],
)
def test_center_box_marks_the_box_it_is_shown(
    prompt: VisualPrompt, size: tuple[int, ...], box: tuple[int, ...]
) -> None:
    found = answer("center-box", asking("masks", size=size, visual_prompts=(prompt,)))
    assert found.masks == (masks.from_box(Box(corners=box), size),)


# --- otsu


def picture(folder: Path, pixels: np.ndarray, **given: Any) -> LocalMedia:
    path = folder / "a.png"
    Image.fromarray(pixels).save(path)
    record = Media(path="a.png", sha256=sha256_file(path), size=pixels.shape[:2], **given)
    return LocalMedia(record, MediaStore(roots=[folder]))


def lesion(low: int, high: int, dtype: Any = np.uint8) -> np.ndarray:
    pixels = np.full(SIZE, low, dtype=dtype)
    pixels[2:4, 3:6] = high
    return pixels


MARKED = masks.from_box(Box(corners=(3, 2, 6, 4)), SIZE)


@pytest.mark.parametrize(("low", "high"), [(20, 200), (200, 20)], ids=["bright", "dark"])
def test_otsu_marks_the_smaller_side(low: int, high: int, tmp_path: Path) -> None:
    found = only_mask(answer("otsu", asking("masks", media=picture(tmp_path, lesion(low, high)))))
    assert masks.encode(found) == MARKED


def test_otsu_sees_colours_by_their_luma(tmp_path: Path) -> None:
    pixels = np.full((*SIZE, 3), (0, 0, 255), dtype=np.uint8)
    pixels[2:4, 3:6] = (0, 255, 0)
    assert masks.encode(only_mask(answer("otsu", asking("masks", media=picture(tmp_path, pixels))))) == MARKED


def test_otsu_sees_a_deep_image_through_its_window(tmp_path: Path) -> None:
    pixels = lesion(1000, 1200, np.uint16)
    pixels[0, 0] = 60_000
    seen = picture(tmp_path, pixels, window=(1000, 1200))
    found = only_mask(answer("otsu", asking("masks", media=seen)))
    assert found.sum() == 7
    assert found[2:4, 3:6].all()


@pytest.mark.parametrize(
    "prompt", [Box(corners=(-4, 0.5, 8, 99)), Region(mask=masks.from_box(Box(corners=(0, 0, 8, 8)), SIZE))]
)
def test_otsu_looks_inside_the_box_it_is_shown(prompt: VisualPrompt, tmp_path: Path) -> None:
    pixels = lesion(20, 200)
    pixels[:, 9:] = 255
    seen = picture(tmp_path, pixels)
    found = only_mask(answer("otsu", asking("masks", media=seen, visual_prompts=(prompt,))))
    assert masks.encode(found) == MARKED


@pytest.mark.parametrize("prompts", [(), (Box(corners=(3, 3, 3, 3)),), (Box(corners=(-9, -9, -1, -1)),)])
def test_otsu_marks_nothing_where_there_is_no_contrast(prompts: Sequence[VisualPrompt], tmp_path: Path) -> None:
    request = asking("masks", media=picture(tmp_path, lesion(20, 20)), visual_prompts=tuple(prompts))
    assert not only_mask(answer("otsu", request)).any()


@pytest.mark.parametrize("prompts", [(), (Box(corners=(1, 2, 3, 4, 8, 12)),)])
def test_otsu_marks_the_smaller_side_of_a_volume(prompts: Sequence[VisualPrompt], tmp_path: Path) -> None:
    voxels = np.zeros(VOLUME, dtype=np.float32)
    voxels[1:3, 2:4, 3:6] = 900
    np.save(tmp_path / "a.npy", voxels)
    record = Media(path="a.npy", sha256=sha256_file(tmp_path / "a.npy"), kind="volume", size=VOLUME)
    seen = LocalMedia(record, MediaStore(roots=[tmp_path]))
    found = only_mask(answer("otsu", asking("masks", size=VOLUME, media=seen, visual_prompts=tuple(prompts))))
    np.testing.assert_array_equal(found, voxels > 0)


@pytest.mark.parametrize("size", [SIZE, VOLUME])
def test_boxes_are_given_where_boxes_are_asked_for(size: tuple[int, ...]) -> None:
    (drawn,) = answer("random", asking("boxes", size=size)).boxes
    assert drawn == answer("random", asking("boxes", size=size)).boxes[0]
    assert drawn != answer("random", asking("boxes", size=size, key="other")).boxes[0]
    check_box(drawn, size, "random")
    (central,) = answer("center-box", asking("boxes", size=size)).boxes
    assert central == masks.bounding_box(masks.encode(only_mask(answer("center-box", asking("masks", size=size)))))


# --- all of them


@pytest.mark.parametrize("name", ["majority", *BASELINES])
def test_an_answer_does_not_depend_on_its_batch(name: str, tmp_path: Path) -> None:
    seen = picture(tmp_path, lesion(20, 200))
    given = {"prior": Prior(answer="yes", mask=masks.full(SIZE)), "target": Target(answers=("no",)), "oracle": "no"}
    requests = [asking(want, key=f"{want}{n}", media=seen, **given) for n in range(2) for want in ("text", "masks")]
    model = build(name)
    model.load("cpu")

    def stored(batch: Sequence[Request]) -> list[Any]:
        return [to_prediction(*pair, 0.0) for pair in zip(batch, model.predict(batch), strict=True)]

    assert model.capabilities().batch_invariant
    alone = [stored([request])[0] for request in requests]
    assert stored(requests) == alone
    assert stored(requests[::-1]) == alone[::-1]


@pytest.mark.parametrize(
    ("name", "by", "expected"),
    [
        (
            "otsi",
            None,
            "--model baseline:otsi: expected one of baseline:majority, baseline:random, baseline:empty, "
            "baseline:oracle, baseline:center-box, baseline:otsu (did you mean 'otsu'?)",
        ),
        ("", None, "--model baseline: expected one of baseline:majority, "),
        ("otsu", "question", "--model baseline:otsu: 'by' is an argument of baseline:majority only"),
        ("majority", "answer", "baseline:majority: by: expected 'question', got 'answer'"),
    ],
)
def test_a_baseline_that_does_not_exist_is_named(name: str, by: str | None, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(name, by=by)
    assert str(caught.value).startswith(expected)


# --- embeddings


def test_random_embeds_by_the_key_alone() -> None:
    first, again, other = (answer("random", asking("embedding", key=key)).embedding for key in ("1", "1", "2"))
    assert first == again
    assert first != other
    assert first[0] != first[1]
    assert {len(vector) for vector in first} == {64}


def test_the_oracle_s_pairs_match_and_no_two_samples_do() -> None:
    asked = [asking("embedding", sample_id=f"t/test/{index}", target=Target(caption_id="same")) for index in range(50)]
    vectors = [answer("oracle", request).embedding for request in asked]
    assert all(image == text for image, text in vectors)
    images = np.array([image for image, _ in vectors])
    cosines = images @ images.T / 64
    assert (cosines[~np.eye(50, dtype=bool)] < 0.9).all()


def test_nothing_is_embedded_where_nothing_is_asked() -> None:
    asked = asking("text", sample_id="1", target=Target(answers=("yes",)), oracle="yes")
    assert answer("oracle", asked).embedding == ()
    assert answer("empty", asking("embedding")).embedding == ()
