"""What a request asks of a segmenter: prompts inside the image, the slices of a volume, one encoder pass an image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.segmenters.encoding import Embedded, Encoder
from harness.models.segmenters.prompts import answered, by_prompts
from harness.records import Answer, Box, Media, Points, Request, VisualPrompt
from tests.support.shown_media import Shown
from tests.unit.models.segmenters.test_sam import asked


class Painter:
    """A segmenter that fills boxes and foreground points, and scores a mask by the brightness of its image."""

    def __init__(self) -> None:
        self.encoder = Encoder(self.encode)
        self.encoded: list[NDArray[Any]] = []
        self.prompts: list[Box | Points] = []

    def encode(self, image: NDArray[np.uint8]) -> Embedded:
        self.encoded.append(image)
        size = image.shape[0], image.shape[1]
        return Embedded(size=size, filled=size, embeddings=float(image.mean()))

    def segment(self, image: Embedded, prompt: Box | Points) -> tuple[NDArray[np.bool_], float]:
        self.prompts.append(prompt)
        mask = np.zeros(image.size, dtype=np.bool_)
        if isinstance(prompt, Box):
            x1, y1, x2, y2 = map(int, prompt.corners)
            mask[y1:y2, x1:x2] = True
        else:
            for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
                mask[int(y), int(x)] = bool(label)
        return mask, image.embeddings


IMAGE = Shown(Media(path="a.png", sha256="a" * 64, size=(6, 8)), np.full((6, 8, 3), 100, dtype=np.uint8))


def volume(**record: Any) -> Shown:
    """Return a volume of 5 slices of 4 x 6 voxels, each slice of one grey value, from 0 to 40."""
    voxels = np.broadcast_to(np.arange(0, 50, 10, dtype=np.float32)[:, None, None], (5, 4, 6))
    return Shown(Media(path="v.nii", sha256="b" * 64, kind="volume", size=(5, 4, 6), **record), voxels)


def marked(points: tuple[tuple[float, ...], ...], *labels: int) -> Points:
    """Return points with their labels."""
    return Points(points=points, labels=labels)


@pytest.mark.parametrize(
    ("prompt", "asked_for"),
    [
        (Box(corners=(-3.0, 1.0, 5.0, 99.0)), Box(corners=(0.0, 1.0, 5.0, 6.0))),
        (marked(((7.0, 5.0), (8.0, 5.0), (7.0, 6.0)), 1, 1, 1), marked(((7.0, 5.0),), 1)),
        (marked(((2.0, 2.0), (-1.0, 2.0), (0.0, 0.0)), 1, 0, 0), marked(((2.0, 2.0), (0.0, 0.0)), 1, 0)),
    ],
)
def test_what_lies_beside_the_image_is_cut_off(prompt: VisualPrompt, asked_for: VisualPrompt) -> None:
    painter = Painter()
    answer = by_prompts(painter, asked(IMAGE, prompt))
    assert painter.prompts == [asked_for]
    assert answer.masks[0].any()


@pytest.mark.parametrize(
    "prompt",
    [
        Box(corners=(8.0, 0.0, 20.0, 6.0)),
        Box(corners=(-9.0, -9.0, 0.0, 0.0)),
        marked(((8.0, 3.0),), 1),
        marked(((3.0, -1.0), (3.0, 3.0)), 1, 0),
        marked(((3.0, 3.0),), 0),
    ],
)
def test_a_prompt_that_names_nothing_in_the_image_gives_no_pixel(prompt: VisualPrompt) -> None:
    painter = Painter()
    answer = by_prompts(painter, asked(IMAGE, prompt))
    assert (painter.prompts, answer.mask_scores) == ([], [0.0])
    assert answer.masks[0].shape == (6, 8)
    assert not answer.masks[0].any()


def test_a_box_is_asked_for_in_the_slices_of_its_range() -> None:
    painter, shown = Painter(), volume(window=(0.0, 40.0))
    answer = by_prompts(painter, asked(shown, Box(corners=(1.0, 1.0, 2.0, 2.5, 3.0, 9.0))))
    expected = np.zeros((5, 4, 6), dtype=np.bool_)
    expected[1:3, 1:3, 2:6] = True  # half of slice 2 is in the box
    assert np.array_equal(answer.masks[0], expected)
    # The window makes 10 and 20 of 40 these greys, of which the score is the mean.
    assert [int(image[0, 0, 0]) for image in painter.encoded] == [64, 128]
    assert answer.mask_scores == [96.0]
    assert answer.rendered == "box 1, 1, 2, 2.5, 3, 9"


def test_points_are_asked_for_in_their_own_slices() -> None:
    painter = Painter()
    points = marked(
        ((1.0, 2.0, 3.0), (2.0, 2.0, 3.0), (0.0, 0.0, 4.0), (0.0, 0.0, 9.0), (5.0, 3.0, 0.0)), 1, 0, 0, 1, 1
    )
    answer = by_prompts(painter, asked(volume(), points))
    # Slice 4 has background alone, and slice 9 is none of the volume.
    assert painter.prompts == [marked(((5.0, 3.0),), 1), marked(((1.0, 2.0), (2.0, 2.0)), 1, 0)]
    assert np.argwhere(answer.masks[0]).tolist() == [[0, 3, 5], [3, 2, 1]]


def test_a_prompt_in_no_slice_gives_no_voxel() -> None:
    answer = by_prompts(Painter(), asked(volume(), Box(corners=(7.0, 0.0, 0.0, 9.0, 4.0, 6.0))))
    assert (answer.masks[0].sum(), answer.mask_scores) == (0, [0.0])


def test_without_a_window_slices_have_one_from_the_whole_volume() -> None:
    painter = Painter()
    by_prompts(painter, asked(volume(), Box(corners=(0.0, 0.0, 0.0, 5.0, 4.0, 6.0))))
    assert [int(image[0, 0, 0]) for image in painter.encoded] == [0, 64, 128, 191, 255]


def test_the_slices_of_a_volume_are_encoded_once_for_all_prompts() -> None:
    painter, shown = Painter(), volume()
    boxes = [Box(corners=(0.0, 0.0, float(x), 5.0, 4.0, 6.0)) for x in range(4)]
    by_prompts(painter, asked(shown, *boxes))
    by_prompts(painter, asked(shown, boxes[0]))
    assert len(painter.encoded) == 5


def test_the_same_pixels_under_another_path_are_encoded_once() -> None:
    painter = Painter()
    for path in ("a.png", "copy/of/a.png"):
        media = Media(path=path, sha256="a" * 64, size=(6, 8))
        by_prompts(painter, asked(Shown(media, IMAGE.values), Box(corners=(0.0, 0.0, 2.0, 2.0))))
    assert len(painter.encoded) == 1


def test_embeddings_are_kept_within_a_limit_and_the_one_least_recently_used_goes_first() -> None:
    values = np.zeros(100, dtype=np.uint8)
    encoded: list[str] = []

    def encoding(name: str) -> Callable[[], Any]:
        return lambda: encoded.append(name)

    # As models return them: a tensor, a list of them, or a mapping.
    shapes = iter(({"a": values}, [values], (values,), values, values, np.zeros(999, dtype=np.uint8)))
    encoder = Encoder(lambda _: Embedded(size=(1, 1), filled=(1, 1), embeddings=next(shapes)), most_bytes=300)
    for name in "abcadba":
        encoder.embedded(name, encoding(name))
    assert "".join(encoded) == "abcdb"  # d is the fourth: b goes, since a was asked for again
    assert list(encoder.recent) == ["d", "b", "a"]
    encoder.embedded("large", encoding("large"))
    assert list(encoder.recent) == ["large"]


def test_a_request_without_prompts_or_media_says_so() -> None:
    def answer(request: Request) -> Answer:
        return by_prompts(Painter(), request)

    for request, message in (
        (asked(IMAGE), "expected a box or points to segment by, found a request without either"),
        (Request(), "expected an image or a volume, found a request without either"),
    ):
        found = answered(request, answer).error
        assert found is not None
        assert (found.type, found.message) == ("ModelError", message)
    with pytest.raises(ModelError, match="expected a box or points in 3 dimensions, found points"):
        by_prompts(Painter(), asked(volume(), marked(((1.0, 2.0),), 1)))
