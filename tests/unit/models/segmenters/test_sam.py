"""`sam:` on small checkpoints: masks as transformers gives them, one encoder pass an image, volumes, and what fails."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("transformers")

from harness.models.segmenters.sam import Sam
from harness.records import Answer, Box, Mask, Media, MediaPart, Points, Region, Request, TextPart, Turn, VisualPrompt
from tests.support import tiny_segmenters as tiny
from tests.support.shown_media import Shown

Load = Callable[[str], Sam]
Folder = Callable[[str], Path]

BOX = Box(corners=(20.0, 9.0, 61.0, 40.0))
POINTS = Points(points=((30.0, 20.0), (70.0, 5.0)), labels=(1, 0))


def picture(seed: int = 0, size: tuple[int, int] = (48, 80)) -> Shown:
    """Return an image of grey blocks of 8 x 8 pixels: of finer noise an encoder keeps little."""
    blocks = np.random.default_rng(seed).integers(0, 2, (size[0] // 8, size[1] // 8, 1), dtype=np.uint8) * 255
    values = np.repeat(blocks.repeat(8, axis=0).repeat(8, axis=1), 3, axis=2)
    return Shown(Media(path=f"{seed}.png", sha256=f"{seed:064x}", size=size), values)


def asked(shown: Shown, *prompts: VisualPrompt) -> Request:
    """Return a request for masks."""
    parts = (MediaPart(media=shown), TextPart(text="Segment it."))
    return Request(wants=("masks",), messages=(Turn(role="user", parts=parts),), visual_prompts=prompts)


def one(adapter: Sam, request: Request) -> Answer:
    """Return the answer to one request, which is no error."""
    (answer,) = adapter.predict([request])
    assert answer.error is None, answer.error
    return answer


def refused(adapter: Sam, request: Request) -> str:
    """Return the message of a request that cannot be answered."""
    (answer,) = adapter.predict([request])
    assert answer.error is not None
    return answer.error.message


def direct_sam(folder: Path, image: NDArray[Any], prompt: VisualPrompt) -> tuple[NDArray[Any], list[float]]:
    """Return SAM's proposals (K, H, W) and their scores by its own processor and a whole pass."""
    import torch
    from transformers import SamImageProcessorPil, SamModel, SamProcessor

    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    model = SamModel.from_pretrained(folder).eval()
    prompts: dict[str, Any] = (
        {"input_boxes": [[list(prompt.corners)]]}
        if isinstance(prompt, Box)
        else {"input_points": [[[list(point) for point in prompt.points]]], "input_labels": [[list(prompt.labels)]]}
    )
    inputs = processor(images=image, return_tensors="pt", **prompts)
    sizes, filled = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
    with torch.inference_mode():
        found = model(**inputs)
    masks = processor.post_process_masks(found.pred_masks, sizes, filled)[0][0].numpy()
    return masks, found.iou_scores[0, 0].tolist()


def direct_sam2(folder: Path, image: NDArray[Any], prompt: VisualPrompt) -> tuple[NDArray[Any], list[float]]:
    """Return SAM 2's proposals and their scores, by what its processor does with torchvision, and a whole pass."""
    import torch
    from torch.nn.functional import interpolate
    from transformers import Sam2Model

    model = Sam2Model.from_pretrained(folder).eval()
    height, width = image.shape[:2]
    scale = np.array([tiny.EDGE / width, tiny.EDGE / height])
    values = torch.from_numpy(image).permute(2, 0, 1)[None]
    values = interpolate(values, size=(tiny.EDGE, tiny.EDGE), mode="bilinear", antialias=True) / 255
    values = (values - torch.tensor(tiny.MEAN).view(3, 1, 1)) / torch.tensor(tiny.STD).view(3, 1, 1)
    if isinstance(prompt, Box):
        prompts = {"input_boxes": torch.tensor((np.reshape(prompt.corners, (2, 2)) * scale).reshape(1, 1, 4)).float()}
    else:
        assert isinstance(prompt, Points)
        prompts = {
            "input_points": torch.tensor((np.array(prompt.points) * scale)[None, None]).float(),
            "input_labels": torch.tensor(prompt.labels)[None, None],
        }
    with torch.inference_mode():
        found = model(pixel_values=values, **prompts)
        masks = interpolate(found.pred_masks[0], (height, width), mode="bilinear", align_corners=False)[0] > 0
    return masks.numpy(), found.iou_scores[0, 0].tolist()


DIRECT = {"sam": direct_sam, "sam2": direct_sam2}


@pytest.mark.parametrize("prompt", [BOX, POINTS], ids=["box", "points"])
@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_masks_are_those_of_transformers(folder: Folder, loaded: Load, family: str, prompt: VisualPrompt) -> None:
    shown = picture()
    answer = one(loaded(family), asked(shown, prompt))
    proposals, scores = DIRECT[family](folder(family), shown.values, prompt)
    best = int(np.argmax(scores))
    assert answer.mask_scores == pytest.approx([scores[best]], abs=1e-6)
    assert answer.masks[0].shape == (48, 80)
    assert np.mean(answer.masks[0] != proposals[best]) < 0.002
    # Neither everything nor nothing, and no other proposal would have passed.
    assert 0.02 < proposals[best].mean() < 0.98
    assert all((answer.masks[0] != other).any() for place, other in enumerate(proposals) if place != best)


@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_masks_follow_the_prompt_and_the_image(loaded: Load, family: str) -> None:
    def mask(seed: int, prompt: VisualPrompt) -> NDArray[Any]:
        found: NDArray[Any] = one(loaded(family), asked(picture(seed), prompt)).masks[0]
        return found

    other = Box(corners=(0.0, 0.0, 30.0, 40.0))
    assert (mask(1, BOX) != mask(1, other)).any()
    assert (mask(1, BOX) != mask(2, BOX)).any()


@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_ten_prompts_on_an_image_cost_one_encoder_pass(folder: Folder, family: str) -> None:
    adapter = Sam(str(folder(family)))
    adapter.load("cpu")
    passes = []
    adapter.segmenter.model.vision_encoder.register_forward_hook(lambda *_: passes.append(1))
    shown, another = picture(3), picture(4)
    boxes = [Box(corners=(float(edge), 2.0, edge + 30.0, 40.0)) for edge in range(10)]
    together = adapter.predict([asked(shown, box) for box in boxes])
    assert len(passes) == 1
    adapter.predict([asked(another, boxes[0]), asked(shown, boxes[1])])
    assert len(passes) == 2
    fresh = Sam(str(folder(family)))
    fresh.load("cpu")
    for box, answer in zip(boxes[::4], together[::4], strict=True):
        fresh.segmenter.encoder.recent.clear()
        alone = one(fresh, asked(shown, box))
        assert np.array_equal(alone.masks[0], answer.masks[0])
        assert alone.mask_scores == answer.mask_scores


def test_each_prompt_of_a_request_gives_a_mask_in_order(loaded: Load) -> None:
    shown = picture()
    both = one(loaded("sam"), asked(shown, BOX, POINTS))
    alone = [one(loaded("sam"), asked(shown, prompt)) for prompt in (BOX, POINTS)]
    assert [mask.tobytes() for mask in both.masks] == [answer.masks[0].tobytes() for answer in alone]
    assert both.rendered == "box 20, 9, 61, 40\npoints +(30, 20) -(70, 5)"


def test_a_box_is_clipped_and_one_beside_the_image_holds_nothing(loaded: Load) -> None:
    shown = picture()
    over, inside, beside = (
        Box(corners=corners) for corners in ((-9.0, 9.0, 61.0, 70.0), (0.0, 9.0, 61.0, 48.0), (90.0, 0.0, 99.0, 9.0))
    )
    answer = one(loaded("sam"), asked(shown, over, inside, beside))
    assert np.array_equal(answer.masks[0], answer.masks[1])
    assert not answer.masks[2].any()
    assert answer.mask_scores[2] == 0


def test_one_mask_for_a_prompt_on_request(folder: Folder, loaded: Load) -> None:
    import torch
    from transformers import SamModel

    single = Sam(str(folder("sam")), multimask=False)
    single.load("cpu")
    shown = picture()
    answer = one(single, asked(shown, BOX))
    values, _ = single.segmenter.pixels.shown(shown.values)
    # 48 rows by 64 / 80 are 38.4, of which SAM makes 38.
    box = torch.tensor([[[20 * 64 / 80, 9 * 38 / 48, 61 * 64 / 80, 40 * 38 / 48]]])
    with torch.inference_mode():
        found = SamModel.from_pretrained(folder("sam")).eval()(
            pixel_values=values, input_boxes=box, multimask_output=False
        )
    assert answer.mask_scores == pytest.approx(found.iou_scores.flatten().tolist(), abs=1e-6)
    assert answer.mask_scores != one(loaded("sam"), asked(shown, BOX)).mask_scores


def test_requests_that_cannot_be_answered_say_why(loaded: Load) -> None:
    adapter, shown = loaded("sam"), picture()
    region = Region(mask=Mask(size=(48, 80), counts="0"))
    volume = Box(corners=(0.0, 0.0, 0.0, 2.0, 9.0, 9.0))
    assert refused(adapter, asked(shown)) == ("expected a box or points to segment by, found a request without either")
    assert refused(adapter, Request(visual_prompts=(BOX,))) == (
        "expected an image or a volume, found a request without either"
    )
    assert refused(adapter, asked(shown, region)) == "expected a box or points in 2 dimensions, found a region"
    assert refused(adapter, asked(shown, volume)) == (
        "expected a box or points in 2 dimensions, found box 0, 0, 0, 2, 9, 9"
    )
