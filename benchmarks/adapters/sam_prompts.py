"""`sam:` with ten prompts an image against one prompt at a time: the same masks, and the time.

The model is a SAM with random weights, its encoder of SAM ViT-B's shape at a smaller width and size, its decoder as
released, made on the spot. One by one is transformers' own example: processor and model for every prompt.

    python benchmarks/adapters/sam_prompts.py [--images 4] [--prompts 10] [--repeats 3]
"""

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.models.segmenters.sam import Sam
from harness.records import Box, Media, MediaPart, Request, Turn

TARGET = 5.0
EDGE, WIDTH, LAYERS = 512, 384, 12
SIZE = (384, 512)


class Picture:
    """An image in memory, as an adapter gets it."""

    def __init__(self, number: int, pixels: Any) -> None:
        self.pixels = pixels
        self.record = Media(path="", sha256=str(number), size=pixels.shape[:2])

    def image(self) -> Any:
        """Return uint8 (H, W, 3)."""
        return self.pixels


def make_model(folder: Path) -> None:
    """Write a SAM whose encoder has LAYERS layers of WIDTH channels, and its processor."""
    import torch

    tf: Any = importlib.import_module("transformers")
    torch.manual_seed(0)
    vision = tf.SamVisionConfig(
        hidden_size=WIDTH,
        mlp_dim=4 * WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        image_size=EDGE,
        window_size=8,
        global_attn_indexes=[2, 5, 8, 11],
    )
    prompts = tf.SamPromptEncoderConfig(image_size=EDGE)
    config = tf.SamConfig(vision_config=vision.to_dict(), prompt_encoder_config=prompts.to_dict())
    tf.SamModel(config).eval().save_pretrained(folder)
    place = importlib.import_module("transformers.models.sam.image_processing_pil_sam")
    place.SamImageProcessorPil(size={"longest_edge": EDGE}, pad_size={"height": EDGE, "width": EDGE}).save_pretrained(
        folder
    )


def questions(images: int, prompts: int) -> list[Request]:
    """Return requests for a box each, those on one image in a row, as the plan of a run has them."""
    import numpy as np

    chance = np.random.default_rng(5)
    found = []
    for number in range(images):
        blocks = chance.integers(0, 256, (SIZE[0] // 32, SIZE[1] // 32, 3), dtype=np.uint8)
        picture: Any = Picture(number, blocks.repeat(32, axis=0).repeat(32, axis=1))
        for _ in range(prompts):
            x, y = chance.integers(0, 256, 2)
            box = Box(corners=(float(x), float(y), float(x + 200), float(y + 120)))
            turn = Turn(role="user", parts=(MediaPart(media=picture),))
            found.append(Request(wants=("masks",), messages=(turn,), visual_prompts=(box,)))
    return found


def measure_one_by_one(folder: Path, requests: Sequence[Request]) -> tuple[float, list[Any]]:
    """Return the seconds and the masks of processor and model on each prompt alone, as transformers' pages show it."""
    import torch

    tf: Any = importlib.import_module("transformers")
    place = importlib.import_module("transformers.models.sam.image_processing_pil_sam")
    processor = tf.SamProcessor(place.SamImageProcessorPil.from_pretrained(folder))
    model = tf.SamModel.from_pretrained(folder).eval()
    began, masks = time.perf_counter(), []
    for request in requests:
        (box,) = request.visual_prompts
        assert isinstance(box, Box)
        inputs = processor(request.images[0].image(), input_boxes=[[list(box.corners)]], return_tensors="pt")
        sizes, filled = inputs.pop("original_sizes"), inputs.pop("reshaped_input_sizes")
        with torch.inference_mode():
            found = model(**inputs)
        proposals = processor.post_process_masks(found.pred_masks, sizes, filled)[0][0]
        masks.append(proposals[int(found.iou_scores[0, 0].argmax())].numpy())
    return time.perf_counter() - began, masks


def measure_adapter(adapter: Sam, requests: Sequence[Request]) -> tuple[float, list[Any]]:
    """Return the seconds and the masks of the adapter, which has seen none of the images before."""
    assert adapter.segmenter is not None
    adapter.segmenter.encoder.recent.clear()
    began = time.perf_counter()
    masks = [answer.masks[0] for answer in adapter.predict(requests)]
    return time.perf_counter() - began, masks


def main() -> None:
    """Measure both in turn, and print the fastest of each with their ratio."""
    import numpy as np
    import torch

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--prompts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    requests = questions(options.images, options.prompts)
    alone, together = [], []
    with tempfile.TemporaryDirectory() as name:
        make_model(Path(name))
        adapter = Sam(name)
        adapter.load("cpu")
        for _ in range(options.repeats):
            seconds, one_by_one = measure_one_by_one(Path(name), requests)
            alone.append(seconds)
            seconds, in_a_row = measure_adapter(adapter, requests)
            together.append(seconds)
    # A batch of one prompt is no other sum, but its pixels may lie within rounding of the threshold.
    apart = max(float(np.mean(first != second)) for first, second in zip(one_by_one, in_a_row, strict=True))
    different = len({mask.tobytes() for mask in in_a_row})
    ratio = min(alone) / min(together)
    for words, found in (("transformers, one by one", alone), (f"sam:, {options.prompts} prompts an image", together)):
        sys.stdout.write(f"{words:26s} {1000 * min(found) / len(requests):7.1f} ms per prompt\n")
    sys.stdout.write(
        f"{different} different masks of {len(requests)}; the two ways differ in at most {apart:.2%} of one\n"
    )
    verdict = "met" if ratio >= TARGET and apart < 0.001 else "missed"
    sys.stdout.write(f"{ratio:.1f} times as fast; target >= {TARGET} with the same masks: {verdict}\n")


if __name__ == "__main__":
    main()
