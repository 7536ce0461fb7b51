"""SAM 3 by words on a small checkpoint of its real class: masks as transformers gives them, alone and in batches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("transformers")

from harness.models.segmenters.concepts import MOST_TOKENS
from harness.models.segmenters.sam import Sam
from harness.records import Media, MediaPart, Request, TextPart, Turn
from tests.support import tiny_segmenters as tiny
from tests.support.shown_media import Shown
from tests.unit.models.segmenters.test_sam import one, picture

THRESHOLD = 0.2  # some instances of random weights are above, some below it
CONCEPTS = ("left lung", "right kidney", "a tumour")


@pytest.fixture(scope="module")
def checkpoint(folder: Callable[[str], Path]) -> Path:
    return folder("sam3")


@pytest.fixture(scope="module")
def sam3(checkpoint: Path) -> Sam:
    adapter = Sam(str(checkpoint), threshold=THRESHOLD)
    adapter.load("cpu")
    return adapter


@pytest.fixture(scope="module")
def direct(checkpoint: Path) -> Callable[[list[NDArray[Any]], list[str]], list[list[tuple[NDArray[Any], float]]]]:
    """A function from images and concepts to their instances by one whole pass of transformers."""
    import torch
    from torch.nn.functional import interpolate
    from transformers import AutoTokenizer, Sam3Model

    model, tokenizer = Sam3Model.from_pretrained(checkpoint).eval(), AutoTokenizer.from_pretrained(checkpoint)

    def segment(images: list[NDArray[Any]], concepts: list[str]) -> list[list[tuple[NDArray[Any], float]]]:
        # What its processor does with torchvision.
        whole = [
            interpolate(
                torch.from_numpy(image).permute(2, 0, 1)[None], (tiny.EDGE,) * 2, mode="bilinear", antialias=True
            )
            for image in images
        ]
        values = (torch.cat(whole) / 255 - torch.tensor(tiny.MEAN).view(3, 1, 1)) / torch.tensor(tiny.STD).view(3, 1, 1)
        words = tokenizer(concepts, return_tensors="pt", padding="max_length", max_length=32)
        with torch.inference_mode():
            found = model(pixel_values=values, **words)
        scores = found.pred_logits.sigmoid() * found.presence_logits.sigmoid()
        answers = []
        for place, image in enumerate(images):
            kept = scores[place] > THRESHOLD
            assert (scores[place] - THRESHOLD).abs().min() > 1e-5  # no instance hangs on the last digit
            masks = found.pred_masks[place][kept].sigmoid()
            if len(masks):
                masks = interpolate(masks[None], image.shape[:2], mode="bilinear", align_corners=False)[0]
            pairs = zip((masks > 0.5).numpy(), scores[place][kept].tolist(), strict=True)
            answers.append(sorted(pairs, key=lambda pair: -pair[1]))
        return answers

    return segment


def named(shown: Shown, concept: str) -> Request:
    """Return a request for masks of a concept."""
    parts = (MediaPart(media=shown), TextPart(text=concept))
    return Request(wants=("masks",), messages=(Turn(role="user", parts=parts),))


@pytest.mark.parametrize("batch", [1, 8])
def test_masks_are_those_of_transformers(sam3: Sam, direct: Any, batch: int) -> None:
    pairs = [(picture(seed, (48, 80) if seed % 2 else (64, 40)), concept) for seed in range(4) for concept in CONCEPTS]
    answers, expected = [], []
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        answers += sam3.predict([named(*pair) for pair in part])
        expected += direct([shown.values for shown, _ in part], [concept for _, concept in part])
    for (shown, concept), answer, instances in zip(pairs, answers, expected, strict=True):
        assert answer.error is None, answer.error
        assert answer.rendered == concept
        # An image without an instance has one mask without foreground.
        instances = instances or [(np.zeros(shown.record.size, dtype=np.bool_), 0.0)]
        assert answer.mask_scores == pytest.approx([score for _, score in instances], abs=1e-5)
        for mask, (other, _) in zip(answer.masks, instances, strict=True):
            assert mask.shape == shown.record.size
            assert np.mean(mask != other) < 0.002
    # Instances, no instance, masks of part of an image, and at least 8 different answers to 12 questions.
    counts = {len(instances) for instances in expected}
    assert 0 in counts
    assert max(counts) > 1
    assert len({b"".join(mask.tobytes() for mask in answer.masks) for answer in answers}) >= 8


def test_masks_follow_the_words_and_the_image(sam3: Sam) -> None:
    first, second = (one(sam3, named(picture(seed), "right kidney")) for seed in (1, 2))
    words = one(sam3, named(picture(1), "left lung"))
    assert first.mask_scores != second.mask_scores
    assert first.mask_scores != words.mask_scores


def test_a_volume_is_segmented_slice_by_slice(sam3: Sam, direct: Any) -> None:
    grey = np.stack([picture(seed).values[..., 0] for seed in range(4)])
    # Of these values the window from the 0.5th to the 99.5th percentile is all of them.
    shown = Shown(Media(path="v.nii", sha256="c" * 64, kind="volume", size=grey.shape), grey.astype(np.float32))
    answer = one(sam3, named(shown, "right kidney"))
    slices = direct([np.repeat(plane[..., None], 3, axis=2) for plane in grey], ["right kidney"] * 4)
    (mask,) = answer.masks
    for plane, instances in zip(mask, slices, strict=True):
        whole = np.any([other for other, _ in instances], axis=0) if instances else np.zeros_like(plane)
        assert np.mean(plane != whole) < 0.002
    scores = [score for instances in slices for _, score in instances]
    assert answer.mask_scores == pytest.approx([np.mean(scores)], abs=1e-5)
    assert 0.02 < mask.mean() < 0.98


def test_a_concept_of_more_tokens_than_the_model_reads_is_cut(sam3: Sam) -> None:
    # One token a letter, and two around them.
    read = "x" * (MOST_TOKENS - 2)
    whole, longer, other = (one(sam3, named(picture(), concept)) for concept in (read, read + "yz", read + "ab"))
    assert whole.remarks == ()
    assert longer.remarks == ("the concept has 34 tokens; the model reads the first 32",)
    assert longer.mask_scores == other.mask_scores
