"""Tasks, samples and models that the tests of requests share."""

from dataclasses import replace
from typing import Any

from harness.imaging import masks
from harness.records import (
    Box,
    Capabilities,
    Media,
    Region,
    Request,
    Sample,
    Target,
)
from harness.requests.build import build_request
from harness.requests.visual_prompts import visual_prompts
from harness.tasks.spec import Headline, MetricUse, Release, TaskSpec

IMAGE = Media(path="a.png", sha256="1" * 64, size=(100, 200))
SECOND = Media(path="b.png", sha256="2" * 64, size=(100, 200))
VOLUME = Media(path="a.nii.gz", sha256="3" * 64, kind="volume", size=(4, 100, 200))
BOX = Box(corners=(20, 10, 60, 50))
REGION = Region(mask=masks.from_box(BOX, (100, 200)))


def task(**changes: Any) -> TaskSpec:
    spec = TaskSpec(
        task="t",
        dataset="t",
        version=1,
        title="T",
        release=Release(reader="vqa_rad"),
        gives="text",
        prompt="{question}",
        metrics=(MetricUse(metric="vqa_accuracy"),),
        headline=Headline(metric="vqa_accuracy"),
    )
    return replace(spec, **changes)


def sample(**changes: Any) -> Sample:
    return replace(Sample(id="t/test/1", media=(IMAGE,), question="Is it left?"), **changes)


def model(takes: str = "text image", gives: str = "text", **changes: Any) -> Capabilities:
    return Capabilities(takes=frozenset(takes.split()), gives=frozenset(gives.split()), **changes)


def build(spec: TaskSpec, item: Sample, capabilities: Capabilities, **changes: Any) -> Request:
    given: dict[str, Any] = {"seed": 0, "repeat": 0, **changes}
    return build_request(spec, item, visual_prompts(spec, item), capabilities, **given)


def retrieval(**changes: Any) -> TaskSpec:
    return task(asks="embed", gives="retrieval", prompt="{caption}", **changes)


REPORTED = sample(media=(VOLUME,), target=Target(answers=("A cyst.",), caption_id="1"))
