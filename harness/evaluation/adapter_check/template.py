"""The files that `harness new-adapter` writes: an adapter that works as it stands, and its test."""

import keyword
from pathlib import Path
from string import Template
from typing import NamedTuple

from harness.errors import SpecError

ADAPTER = Template('''\
"""$title: an adapter for MedGround. Replace what `load` and `answer` do; docs/add-a-model.md explains the rest."""

from collections.abc import Sequence

import numpy as np

from harness import Answer, Box, Capabilities, Request


class $class_name:
    """Marks what is brighter than a share of the image's range, inside the box if one is given.

    Args:
        share: Of the range, between 0 and 1. `--model-args share=0.7` sets it.
    """

    version = "1"  # raise it when a change of this file's imports or weights changes answers

    def __init__(self, *, share: float = 0.6) -> None:
        self.share = share

    def capabilities(self) -> Capabilities:
        """Say what the model takes and gives; the harness asks it nothing else. No weights, no heavy import."""
        return Capabilities(
            takes=frozenset({"text", "image", "volume", "box"}),
            gives=frozenset({"text", "masks"}),
            max_batch=8,
            batch_invariant=True,  # a promise: the same answer whatever else is in the batch
        )

    def load(self, device: str) -> None:
        """Load weights onto `device` (`cpu` or `cuda:0`), and import the library that they need."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer a batch, in order."""
        return [self.answer(request) for request in requests]

    def answer(self, request: Request) -> Answer:
        """Answer one request: `request.prompt` in words about `request.images` and `request.volumes`."""
        if request.volumes:
            grey = request.volumes[0].volume()  # float32 (D, H, W)
        elif request.images:
            grey = request.images[0].image().mean(axis=2)  # uint8 (H, W, 3) to (H, W)
        else:
            return Answer(text="no image")
        mask = grey > grey.min() + self.share * np.ptp(grey)
        for prompt in request.visual_prompts:
            if isinstance(prompt, Box):
                mask &= inside(prompt, mask.shape)
        share = mask.mean()
        return Answer(text=f"{share:.0%} of it is bright", masks=[mask], mask_scores=[float(1 - share)])


def inside(box: Box, size: tuple[int, ...]) -> np.ndarray:
    """Return a mask of `size` that is true inside the box: x1 y1 x2 y2, in a volume z1 y1 x1 z2 y2 x2."""
    low, high = box.corners[: len(size)], box.corners[len(size) :]
    spans = [slice(round(start), round(end)) for start, end in zip(low, high, strict=True)]
    mask = np.zeros(size, dtype=bool)
    mask[tuple(spans if len(size) == 3 else spans[::-1])] = True
    return mask
''')

TEST = Template('''\
"""Tests of $name.py: run them with `python -m pytest test_$name.py`."""

import subprocess
import sys
from pathlib import Path

import harness

from $name import $class_name

HERE = Path(__file__).parent


def test_it_keeps_the_protocol() -> None:
    words = ["check-adapter", f"{HERE / '$name.py'}:$class_name"]
    done = subprocess.run([sys.executable, "-m", "harness.cli", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_can_be_evaluated(tmp_path: Path) -> None:
    run = harness.evaluate("samed2d_seg", $class_name, data_roots="phantom", limit=2, out=tmp_path / "run", ray="off")
    assert run.results["tasks"]["samed2d_seg"]["counts"] == {"ok": 2}
''')


class AdapterFiles(NamedTuple):
    """The files of a new adapter, and the name of its class."""

    adapter: Path
    test: Path
    class_name: str


def write(name: str, folder: Path) -> AdapterFiles:
    """Write an adapter and its test.

    Args:
        name: Of the module; `.py` at its end does not count.
        folder: Made if it does not exist.
    Raises:
        SpecError: The name is none of a Python module, or one of the files exists.
    """
    module = name.removesuffix(".py").replace("-", "_")
    if not module.isidentifier() or keyword.iskeyword(module) or not module.isascii():
        raise SpecError(f"new-adapter {name}: expected a name with letters, digits and underscores, such as my_model")
    class_name = "".join(part[:1].upper() + part[1:] for part in module.split("_")) or "Model"
    files = AdapterFiles(folder / f"{module}.py", folder / f"test_{module}.py", class_name)
    for file in files[:2]:
        if file.exists():
            raise SpecError(f"{file}: exists, and nothing is overwritten; choose another name, or --out FOLDER")
    folder.mkdir(parents=True, exist_ok=True)
    words = {"name": module, "class_name": class_name, "title": class_name}
    for file, template in ((files.adapter, ADAPTER), (files.test, TEST)):
        with file.open("x", encoding="utf-8") as out:
            out.write(template.substitute(words))
    return files
