"""Replies in every dialect: whole ones score as typed answers do, and damaged ones place nothing elsewhere."""

from random import Random

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics import find
from harness.metrics.metric import sample_values
from harness.models.answer_check import to_prediction
from harness.records import (
    Answer,
    Box,
    Entity,
    Media,
    MediaPart,
    Prediction,
    Request,
    Sample,
    Target,
    Turn,
)
from harness.text.dialects.reply_reader import ReplyReader
from harness.text.dialects.table import DIALECTS
from harness.text.dialects.typed_answers import typed
from tests.support.dialect_replies import FORMS, Meant, damaged, reply_in

IDS = [f"{form}-{len(size)}d" for form, size in FORMS]


def reader_of(meant: Meant) -> ReplyReader:
    return ReplyReader.of(meant.dialect, meant.frame, meant.frame_args)


def answered(meant: Meant, answer: Answer, *, read: bool) -> Prediction:
    media = Media(path="a", sha256="0" * 64, kind="image" if len(meant.size) == 2 else "volume", size=meant.size)
    wants = ("masks",) if meant.masks else ("boxes",)
    request = Request(key="k", wants=wants, messages=(Turn(role="user", parts=(MediaPart(media=media),)),))
    return to_prediction(request, typed(reader_of(meant), request, answer) if read else answer, 0.0)


def scores(sample: Sample, prediction: Prediction, *metrics: str) -> list[float | None]:
    rows = [find(name, "standard") for name in metrics]
    found = [(row, row.score(sample, prediction)) for row in rows]
    return [sample_values(row, outcome.stats)[0] if outcome.stats else None for row, outcome in found]


@pytest.mark.parametrize(("form", "size"), FORMS, ids=IDS)
def test_a_model_that_answers_in_a_dialect_scores_as_its_typed_answer(form: str, size: tuple[int, ...]) -> None:
    random = Random(form)
    for count in (1, 1, 2, 3):
        meant = reply_in(form, random, size, count)
        given = [masks.encode(mask) for mask in meant.masks] if meant.dialect == "seg_phrase" else []
        read = answered(meant, Answer(text=meant.reply, masks=given), read=True)
        boxes = [Box(corners=box) for box in meant.boxes]
        plain = answered(meant, Answer(text="", boxes=boxes, points=meant.points, masks=meant.masks), read=False)
        assert read.status == plain.status == "ok" or not (boxes or meant.masks)
        assert [list(point) for point in read.points] == [pytest.approx(point, abs=1e-9) for point in meant.points]
        assert len(read.boxes) == len(boxes)
        target = reply_in(form, random, size, 1)
        if boxes:
            for box in (boxes[0], Box(corners=target.boxes[0])):
                sample = Sample(id="a", target=Target(boxes=(box,)))
                metrics = ("rec_iou", "rec_accuracy")
                assert scores(sample, read, *metrics) == pytest.approx(scores(sample, plain, *metrics), abs=1e-9)
        for mask in (*meant.masks[:1], *target.masks):
            sample = Sample(id="a", target=Target(entities=(Entity(name="a", mask=masks.encode(mask)),)))
            metrics = ("dice", "iou")
            assert scores(sample, read, *metrics) == pytest.approx(scores(sample, plain, *metrics), abs=1e-9)


def test_every_dialect_has_a_form_that_is_tested() -> None:
    # `mask_files` writes names of files, and has tests of its own.
    assert {form.partition(":")[0] for form, _ in FORMS} | {"mask_files"} == set(DIALECTS)


@pytest.mark.parametrize(("form", "size"), FORMS, ids=IDS)
def test_names_are_read_with_what_they_name(form: str, size: tuple[int, ...]) -> None:
    if form.partition(":")[0] in ("bare", "llava", "m3d", "points", "shikra"):
        return  # words around the brackets may be anything
    random = Random(form)
    for count in (1, 2, 3):
        meant = reply_in(form, random, size, count)
        found = reader_of(meant).read(meant.reply, size)
        assert [*found.labels, *(name.label for name in found.mask_names)] == meant.labels


def moved(form: str, size: tuple[int, ...], replies: int, tries: int) -> list[tuple[str, str]]:
    """Return (whole, damaged) of the replies that place something after damage which they did not place before."""
    random, found = Random(form), []
    for _ in range(replies):
        meant = reply_in(form, random, size, random.randint(1, 4))
        reader = reader_of(meant)
        whole = reader.read(meant.reply, size)
        assert whole.boxes or whole.points or whole.masks or whole.phrases
        for _ in range(tries):
            broken = damaged(meant.reply, random)
            read = reader.read(broken, size)
            new = set(read.boxes) - set(whole.boxes), set(read.points) - set(whole.points)
            if any(new) or set(read.masks) - set(whole.masks):
                found.append((meant.reply, broken))
    return found


@pytest.mark.parametrize(("form", "size"), FORMS, ids=IDS)
def test_a_damaged_reply_moves_nothing(form: str, size: tuple[int, ...]) -> None:
    assert moved(form, size, 15, 20) == []


@pytest.mark.slow
@pytest.mark.parametrize(("form", "size"), FORMS, ids=IDS)
def test_ten_thousand_damaged_replies_move_nothing(form: str, size: tuple[int, ...]) -> None:
    assert moved(form, size, 2500, 4) == []


def test_damage_is_found_if_a_reader_moves_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.text.dialects import shapes, tags

    def lenient(text: str) -> list[shapes.Brackets]:
        whole = [one for one in real(text.replace(",,", ",")) if len(one.groups[0]) >= 3]
        return [shapes.Brackets(((one.groups[0] * 2)[:4],), one.start, one.end) for one in whole]

    real = shapes.bracketed_numbers
    monkeypatch.setattr(tags, "bracketed_numbers", lenient)
    assert moved("bare", (41, 57), 15, 20)


def test_masks_are_named_and_scored() -> None:
    meant = reply_in("coco", Random(3), (41, 57), 2)
    read = answered(meant, Answer(text=meant.reply), read=True)
    assert [entity.name for entity in read.entities] == meant.labels[:2]
    assert [entity.mask for entity in read.entities] == [0, 1]
    assert len(read.mask_scores) == 2
    assert all(np.array_equal(masks.decode(one), other) for one, other in zip(read.masks, meant.masks, strict=True))
