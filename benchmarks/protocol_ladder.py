"""How far the protocols of a metric disagree about one fixed set of predictions, task by task.

The answers are made from the targets of drawn patients: some right and short, some right in a sentence, some half
right, some wrong, and masks that are shifted, grown or missing; which one a sample gets follows from its id. So no
model is judged here, only the rules: the same answers, the same samples, another way to get to a number.

    python benchmarks/protocol_ladder.py [--tasks vqa_rad mecovqa_g ...] [--samples 400] [--write docs/metrics.md]
"""

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from harness import masks
from harness.aggregate import aggregate
from harness.cache_folder import default_cache
from harness.manifest import read_manifest
from harness.metrics import METRICS, Metric, bind, settle
from harness.metrics.row import Pair
from harness.planning import data_roots, prepare_task
from harness.records import Box, Mask, PredictedEntity, Prediction, Result, Sample
from harness.scoring import score
from harness.spec import TaskSpec, index

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
SENTENCES = ("{}", "{}.", "The answer is {}.", "It is {}.", "I think this shows {}.", "{} or something else")
LETTER_STYLES = (
    "{letter}",
    "{letter}.",
    "({letter})",
    "{lower}",
    "{letter}. {option}",
    "The answer is {letter}.",
    "{option}",
)
BEGIN, END = "<!-- ladder begins -->", "<!-- ladder ends -->"


def dice_of(sample: Sample, faces: int, salt: str = "") -> int:
    """Return a number below `faces` that follows from the sample's id."""
    return int.from_bytes(hashlib.sha256(f"{sample.id}{salt}".encode()).digest()[:4]) % faces


def answer(sample: Sample, others: Sequence[str]) -> str:
    """Return a reply in words: right in one of several forms for two in three samples, else another sample's answer."""
    right = sample.target.answers[0] if sample.target.answers else ""
    words = right if dice_of(sample, 3) else others[dice_of(sample, len(others), "other")]
    if sample.choices:
        letter = sample.target.choice if dice_of(sample, 3) else LETTERS[dice_of(sample, len(sample.choices), "letter")]
        assert letter is not None
        option = sample.choices[LETTERS.index(letter)]
        style = LETTER_STYLES[dice_of(sample, len(LETTER_STYLES), "style")]
        return style.format(letter=letter, lower=letter.lower(), option=option)
    return SENTENCES[dice_of(sample, len(SENTENCES), "style")].format(words)


def worsen(mask: Mask, sample: Sample) -> Mask:
    """Return the mask moved by up to a tenth of the image along its first two axes."""
    array = masks.decode(mask)
    shift = [dice_of(sample, max(2, length // 10), f"axis{axis}") for axis, length in enumerate(array.shape[-2:])]
    moved = np.roll(array, shift, axis=(-2, -1))
    return masks.encode(moved)


def prediction(sample: Sample, others: Sequence[str]) -> Prediction:
    """Return the fixed answer to a sample."""
    found, entities = [], []
    for place, entity in enumerate(sample.target.entities):
        if entity.mask is None or dice_of(sample, 8, f"missed{place}") == 0:
            continue
        entities.append(PredictedEntity(name=entity.name, mask=len(found)))
        found.append(worsen(entity.mask, sample))
    boxes = tuple(
        Box(corners=tuple(corner + dice_of(sample, 5, str(axis)) for axis, corner in enumerate(box.corners)))
        for box in sample.target.boxes
    )
    text = answer(sample, others)
    nll = tuple(1.0 + dice_of(sample, 7, f"nll{place}") for place in range(len(sample.choices)))
    return Prediction(
        key="", status="ok", text=text, masks=tuple(found), entities=tuple(entities), boxes=boxes, nll=nll
    )


def pairs_of(task: TaskSpec, count: int) -> list[Pair]:
    """Return samples of drawn patients with their fixed answers."""
    roots = data_roots(["phantom"], default_cache())
    prepared = prepare_task(task, roots, default_cache(), lambda _: None)
    samples = list(islice((sample for sample in read_manifest(prepared.manifest) if sample.defect is None), count))
    others = [sample.target.answers[0] for sample in samples if sample.target.answers] or [""]
    return [(sample, prediction(sample, others)) for sample in samples]


def rows_for(task: TaskSpec) -> Iterator[Metric]:
    """Yield every row that suits the task and can be computed here."""
    for row in METRICS:
        if task.gives not in row.suits or row.line in ("judge", "retrieval"):
            continue
        bound = bind(row, {}, "defaults")
        if bound.resource is None or bound.resource.missing(bound.bound) is None:
            yield bound


def value(task: TaskSpec, row: Metric, pairs: Sequence[Pair]) -> Result:
    """Return the whole task's number under one row, as a run computes it."""
    settled = settle(row, pairs)
    scores = [score(settled, sample, 0, answer) for sample, answer in pairs]
    found = aggregate(task.task, settled, (item for item in scores if item), strata=(), macro_over=None, pooled=False)
    return found[0]


def ladder(task: TaskSpec, count: int) -> list[str]:
    """Return the lines of one task's table: a row per metric, the protocols from the lowest to the highest."""
    pairs = pairs_of(task, count)
    by_metric: dict[str, list[Result]] = {}
    for row in rows_for(task):
        by_metric.setdefault(row.name, []).append(value(task, row, pairs))
    lines = [
        f"### {task.task}, {len(pairs)} samples",
        "",
        "| metric | max - min | protocols, lowest first |",
        "| --- | --- | --- |",
    ]
    for name, results in by_metric.items():
        defined = sorted((result.value, result.protocol, result.name) for result in results if result.value is not None)
        if len(defined) < 2:
            continue
        shown = ", ".join(
            f"{protocol} ({what}) {number:.3f}" if what != name else f"{protocol} {number:.3f}"
            for number, protocol, what in defined
        )
        lines.append(f"| {name} | {defined[-1][0] - defined[0][0]:.3f} | {shown} |")
    return [*lines, ""] if len(lines) > 4 else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["demo"])
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--write", type=Path, help="Put the tables between the marks of this page.")
    options = parser.parse_args()
    tasks, _ = index(()).resolve(options.tasks)
    lines = [line for task in tasks for line in ladder(replace(task), options.samples)]
    print("\n".join(lines))
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        head, tail = page.partition(BEGIN)[0], page.partition(END)[2]
        options.write.write_text("\n".join([f"{head}{BEGIN}", "", *lines, f"{END}{tail}"]), encoding="utf-8")


if __name__ == "__main__":
    main()
