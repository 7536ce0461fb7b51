"""Peak memory of `reference:FOLDER` over one answer, beside the bytes of its weights, in each precision.

The model has MedPLIB's architecture, half a billion parameters and random numbers, written tensor by tensor in 16 bits
to a temporary folder. Each measurement is a process of its own, whose memory after the imports is subtracted.

    python benchmarks/adapters/reference_memory.py [--folder FOLDER]

It needs Linux, a gigabyte of disk and 3 GB of memory, and ends with exit code 1 if the target is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

TARGET = 1.1
# Precisions of the file and of the model that reads it.
PAIRS = (("bf16", "bf16"), ("bf16", "fp32"), ("fp16", "fp16"))
PRESET = """\
name: half-a-billion
released: false
prompt: {base_vocabulary: 8000, fillers: 0, system: none, max_length: 256}
vision: {image_size: 96, patch_size: 8, width: 128, ffn_width: 256, layers: 4, heads: 4, skipped_layers: 1}
region: {points: 512, smallest_part: 10, alignment: corner}
language:
  width: 1536
  ffn_width: 4096
  layers: 9
  heads: 12
  max_positions: 1024
  norm_epsilon: 0.00001
  rope_theta: 10000
moe: {experts: 2, top_k: 1, capacity_train: 1.5, capacity_evaluation: 2.0, min_capacity: 0}
pixel_encoder:
  image_size: 96
  patch_size: 4
  width: 96
  ffn_width: 256
  layers: 4
  heads: 4
  window: 6
  global_every: 2
  adapter_width: 24
  channels: 64
mask_decoder:
  layers: 2
  heads: 4
  ffn_width: 128
  iou_layers: 3
  iou_width: 64
  mask_prompt_channels: 16
  threshold: 0.5
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a process held, in bytes.

    Attributes:
        weights: The parameters in the precision of the model.
        loaded: The most until the model was loaded, beyond the imports.
        peak: The most until it had answered, beyond the imports.
        anonymous: After the answer, without pages that are mapped from files; beyond the imports.
    """

    weights: int
    loaded: int
    peak: int
    anonymous: int


class ImageInMemory:
    """An image in memory, as an adapter gets it."""

    def __init__(self, pixels: Any) -> None:
        from harness.records import Media

        self.pixels = pixels
        self.record = Media(path="", sha256="0", size=pixels.shape[:2])

    def image(self) -> Any:
        """Return uint8 (H, W, 3)."""
        return self.pixels


def write_model(folder: Path, precision: Any) -> int:
    """Write a model of random numbers, tensor by tensor, and return how many it has.

    Args:
        folder: An empty folder.
        precision: `bf16` or `fp16`.
    """
    import torch

    from reference_model.checkpoints.checkpoint import WEIGHTS, About, write_about
    from reference_model.convert.checkpoint_files import Stored
    from reference_model.convert.tensor_map import Move, TensorMap
    from reference_model.convert.writing import entries, write_tensors
    from reference_model.modeling.build import build_model
    from reference_model.preset_files import read_config

    (folder / "preset.yaml").write_text(PRESET, encoding="utf-8")
    config = read_config(folder / "preset.yaml")
    with torch.device("meta"):
        model = build_model(config)
    random, moves = torch.Generator().manual_seed(0), {}
    for name, value in model.state_dict().items():
        shape = tuple(value.shape)
        read = partial(torch.normal, 0.0, 0.02, shape, generator=random)
        stored = Stored(file=folder, shape=shape, dtype=torch.float32, read=read)
        moves[name] = Move(option="", stored=stored, shape=shape)
    write_tensors(folder / WEIGHTS, entries(model, TensorMap(moves=moves), precision), lambda _: None)
    write_about(folder, About(config=config, words=("what", "is", "this", "?"), experts=True))
    return sum(parameter.numel() for parameter in model.parameters())


def measure(folder: Path, dtype: str, parameters: int) -> Memory:
    """Return the memory of a new process that loads a model and answers one question.

    Raises:
        CalledProcessError: The process failed.
    """
    command = [sys.executable, __file__, "--answer", dtype, "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return Memory(weights=parameters * (4 if dtype == "fp32" else 2), **json.loads(done.stdout))


def held(key: str) -> int:
    """Return a number of bytes that the system has about this process, such as `VmRSS` (now) or `VmHWM` (at most)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def answer(folder: Path, dtype: str) -> dict[str, int]:
    """Load a model, answer one question about an image, and return the memory that this took, in bytes."""
    import numpy as np
    import torch

    from harness.records import MediaPart, Request, TextPart, Turn
    from reference_model.adapter import Reference
    from reference_model.inference import predictor  # noqa: F401 - imported before memory is read

    torch.zeros(8).sum()  # for what torch sets up with its first operation
    image: Any = ImageInMemory(np.zeros((64, 80, 3), dtype=np.uint8))
    turn = Turn(role="user", parts=(MediaPart(media=image), TextPart(text="what is this?")))
    request = Request(messages=(turn,), decoding={"max_new_tokens": 3, "temperature": 0}, key="k")
    before, anonymous = held("VmRSS"), held("RssAnon")
    adapter = Reference(str(folder), dtype=dtype)
    adapter.load("cpu")
    loaded = held("VmHWM") - before
    (found,) = adapter.predict([request])
    assert found.error is None, found.error
    return {"loaded": loaded, "peak": held("VmHWM") - before, "anonymous": held("RssAnon") - anonymous}


def main() -> int:
    """Measure every pair, print a table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the model is written, or, with --answer, read")
    parser.add_argument("--answer", metavar="DTYPE", help="print the memory of this process, which answers, as JSON")
    given = parser.parse_args()
    if given.answer:
        print(json.dumps(answer(given.folder, given.answer)))
        return 0
    print("| file | model | weights, MB | loaded | peak | peak / weights | not mapped, after the answer |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    worst, written = 0.0, ""
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        for stored, dtype in PAIRS:
            if stored != written:
                parameters, written = write_model(Path(folder), stored), stored
            found = measure(Path(folder), dtype, parameters)
            sizes = (found.weights, found.loaded, found.peak)
            weights, loaded, peak = (f"{size / 1e6:,.0f}" for size in sizes)
            ratio, rest = found.peak / found.weights, f"{found.anonymous / 1e6:,.0f}"
            print(f"| {stored} | {dtype} | {weights} | {loaded} | {peak} | {ratio:.3f} | {rest} |", flush=True)
            worst = max(worst, ratio)
    return int(worst > TARGET)


if __name__ == "__main__":
    sys.exit(main())
