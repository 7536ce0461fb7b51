"""How far the protocols of a metric disagree about one fixed set of predictions, task by task.

The answers are made from the targets of synthetic patients: some right and short, some right in a sentence, some half
right, some wrong; masks are shifted or missing, and in a third of the samples they are probabilities that fade at the
edge. Which answer a sample gets follows from its id. So no model is judged here, only the rules: the same answers and
samples, another way to a number.

    python benchmarks/protocol_ladder.py [--tasks vqa_rad mecovqa_g ...] [--samples 400] [--write docs/metrics.md]
"""

import argparse
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.markdown import put
from harness.data.manifest import read_manifest
from harness.data.roots import data_roots
from harness.imaging import masks, soft_masks
from harness.metrics import METRICS, Metric, bind, settle
from harness.metrics.metric import Floats, Pair
from harness.paths import default_cache
from harness.records import Box, Mask, PredictedEntity, Prediction, Result, Sample
from harness.scoring.aggregate import aggregate
from harness.scoring.score import score
from harness.tasks.catalog import index
from harness.tasks.prepare import prepare_task
from harness.tasks.spec import TaskSpec

# Option letters, in the order of a sample's choices.
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# Forms of a free answer; protocols differ in which of them they read as the bare answer in the braces.
SENTENCES = ("{}", "{}.", "The answer is {}.", "It is {}.", "I think this shows {}.", "{} or something else")
# Forms in which models name an option; each protocol finds the letter in some of them.
LETTER_STYLES = (
    "{letter}",
    "{letter}.",
    "({letter})",
    "{lower}",
    "{letter}. {option}",
    "The answer is {letter}.",
    "{option}",
)
FADE = 100.0  # the standard deviation of the blur is the image's length over this

WIDEST = "| metric | widest max - min | lowest | highest | on |\n| --- | --- | --- | --- | --- |"
HEAD = "| metric | max - min | protocols, lowest first |\n| --- | --- | --- |"
# Protocols that compare likelihoods instead of reading a reply: they need other requests, so other answers.
OTHER_QUESTIONS = ("omnimedvqa-prefix",)

Bools = NDArray[np.bool_]


class Rungs(NamedTuple):
    """The protocols of one metric on one set of answers: value, protocol and name of the value, lowest first."""

    metric: str
    found: tuple[tuple[float, str, str], ...]

    @property
    def spread(self) -> float:
        """Highest minus lowest value."""
        return self.found[-1][0] - self.found[0][0]

    def table_cell(self, place: int) -> str:
        """Return one value as a cell shows it, with its name in brackets unless it is called like the metric."""
        number, protocol, name = self.found[place]
        return f"{protocol} {number:.3f}" if name == self.metric else f"{protocol} ({name}) {number:.3f}"


class Ladder(NamedTuple):
    """The table of a task, or of several tasks that have the same table."""

    tasks: list[str]
    samples: int
    rungs: list[Rungs]


def throw(sample: Sample, faces: int, salt: str = "") -> int:
    """Return a number below `faces` that follows from the sample's id."""
    # No generator: the answer to a sample must not depend on which samples came before it.
    return int.from_bytes(hashlib.sha256(f"{sample.id}{salt}".encode()).digest()[:4]) % faces


def answer(sample: Sample, others: Sequence[str]) -> str:
    """Return a reply in words: right in one of several forms for two in three samples, else another sample's answer."""
    right = sample.target.answers[0] if sample.target.answers else ""
    words = right if throw(sample, 3) else others[throw(sample, len(others), "other")]
    if sample.choices:
        letter = sample.target.choice if throw(sample, 3) else LETTERS[throw(sample, len(sample.choices), "letter")]
        assert letter is not None
        option = sample.choices[LETTERS.index(letter)]
        style = LETTER_STYLES[throw(sample, len(LETTER_STYLES), "style")]
        return style.format(letter=letter, lower=letter.lower(), option=option)
    return SENTENCES[throw(sample, len(SENTENCES), "style")].format(words)


def moved(mask: Mask, sample: Sample) -> Bools:
    """Return a boolean array of the mask's shape, shifted by less than a thirtieth of it along its last two axes."""
    array = masks.decode(mask)
    shift = [throw(sample, max(2, length // 30), f"axis{axis}") for axis, length in enumerate(array.shape[-2:])]
    return np.roll(array, shift, axis=(-2, -1))


def faded(mask: Bools) -> Floats:
    """Return probabilities that fall from inside a mask outwards, over about a fiftieth of the image.

    Args:
        mask: Boolean (H, W) or (D, H, W).
    Returns:
        float64 in [0, 1], of the same shape.
    """
    # Slices of a volume are blurred one by one: their distance is not that of pixels.
    widths = [max(1.0, length / FADE) for length in mask.shape[-2:]]
    spread = ndimage.gaussian_filter(mask.astype(np.float64), [0.0] * (mask.ndim - 2) + widths)
    probabilities: Floats = np.clip(spread, 0.0, 1.0)
    return probabilities


def prediction(sample: Sample, others: Sequence[str]) -> Prediction:
    """Return the fixed answer to a sample."""
    found: list[Bools] = []
    entities = []
    for place, entity in enumerate(sample.target.entities):
        # One mask in eight is missing: protocols differ in what that costs.
        if entity.mask is None or throw(sample, 8, f"missed{place}") == 0:
            continue
        entities.append(PredictedEntity(name=entity.name, mask=len(found)))
        found.append(moved(entity.mask, sample))
    boxes = tuple(
        Box(corners=tuple(corner + throw(sample, 5, str(axis)) for axis, corner in enumerate(box.corners)))
        for box in (() if sample.target.answers else sample.target.boxes)
    )
    text = answer(sample, others)
    soft = tuple(soft_masks.encode(faded(mask)) for mask in found) if throw(sample, 3, "soft") == 0 else ()
    # Binary masks follow from the probabilities where a sample has both, as in a model's answer.
    binary = tuple(soft_masks.cut(mask, soft_masks.HALF) for mask in soft) or tuple(map(masks.encode, found))
    return Prediction(
        key="", status="ok", text=text, masks=binary, soft_masks=soft, entities=tuple(entities), boxes=boxes
    )


def pairs_of(task: TaskSpec, count: int) -> list[Pair]:
    """Return samples of synthetic patients with their fixed answers."""
    roots = data_roots(["phantom"], default_cache())
    prepared = prepare_task(task, roots, default_cache(), lambda _: None)
    # Samples with a planted defect, such as an unreadable mask, have no target to make an answer from.
    samples = list(islice((sample for sample in read_manifest(prepared.manifest) if sample.defect is None), count))
    others = [sample.target.answers[0] for sample in samples if sample.target.answers] or [""]
    return [(sample, prediction(sample, others)) for sample in samples]


def rows_for(task: TaskSpec) -> Iterator[Metric]:
    """Yield every row that suits the task and can be computed here, with the task's parameters of its metric."""
    for row in METRICS:
        if task.gives not in row.suits or row.line in ("judge", "retrieval") or row.protocol in OTHER_QUESTIONS:
            continue
        known = {parameter.name for parameter in row.parameters}
        uses = (use.parameters for use in task.metrics if use.metric == row.name)
        given = {name: value for parameters in uses for name, value in parameters.items() if name in known}
        # A row that lacks its resource here, such as Java, is left out instead of scored by its stand-in.
        bound = bind(row, given, task.task)
        if bound.resource is None or bound.resource.missing(bound.bound) is None:
            yield bound


def value(task: TaskSpec, row: Metric, pairs: Sequence[Pair]) -> Result:
    """Return the whole task's number under one row, as a run computes it."""
    settled = settle(row, pairs)
    scores = [score(settled, sample, 0, answer) for sample, answer in pairs]
    found = aggregate(task.task, settled, (item for item in scores if item), strata=(), macro_over=None, pooled=False)
    return found[0]


def ladder(task: TaskSpec, count: int) -> Ladder:
    """Return one task's table: a row per metric, the protocols from the lowest to the highest."""
    pairs = pairs_of(task, count)
    by_metric: dict[str, list[Result]] = {}
    for row in rows_for(task):
        by_metric.setdefault(row.name, []).append(value(task, row, pairs))
    rungs = [Rungs(name, ordered(results)) for name, results in by_metric.items() if len(ordered(results)) > 1]
    return Ladder([task.task], len(pairs), rungs)


def ordered(results: Sequence[Result]) -> tuple[tuple[float, str, str], ...]:
    """Return value, protocol and name of every result that has a value, lowest first."""
    found = ((result.value, result.protocol, result.name) for result in results if result.value is not None)
    return tuple(sorted(found))


def merged(ladders: Iterable[Ladder]) -> list[Ladder]:
    """Return the ladders that have a rung; tasks with equal ladders share one."""
    shown: list[Ladder] = []
    for found in ladders:
        same = next((other for other in shown if (other.samples, other.rungs) == (found.samples, found.rungs)), None)
        if same is not None:
            same.tasks.extend(found.tasks)
        elif found.rungs:
            shown.append(found)
    return shown


def page(ladders: Sequence[Ladder]) -> str:
    """Return the widest spread of every metric, then a table per task, in Markdown."""
    tables = [f"{WIDEST}\n" + "\n".join(widest(ladders))]
    for found in ladders:
        lines = (
            f"| {rungs.metric} | {rungs.spread:.3f} | {', '.join(map(rungs.table_cell, range(len(rungs.found))))} |"
            for rungs in found.rungs
        )
        tables.append(f"### {', '.join(found.tasks)}: {found.samples} samples\n\n{HEAD}\n" + "\n".join(lines))
    return "\n\n".join(tables)


def widest(ladders: Sequence[Ladder]) -> list[str]:
    """Return a line per metric: the task on which its protocols are furthest apart, the widest metric first."""
    best: dict[str, tuple[Rungs, str]] = {}
    for found in ladders:
        for rungs in found.rungs:
            if rungs.metric not in best or rungs.spread > best[rungs.metric][0].spread:
                best[rungs.metric] = rungs, found.tasks[0]
    return [
        f"| {rungs.metric} | {rungs.spread:.3f} | {rungs.table_cell(0)} | {rungs.table_cell(-1)} | {task} |"
        for rungs, task in sorted(best.values(), key=lambda entry: (-entry[0].spread, entry[0].metric))
    ]


def main() -> None:
    """Compute the ladders of the tasks, print them, and write them into a page if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    catalog = index(())
    parser.add_argument("--tasks", nargs="+", default=sorted(catalog.entries), help="Default: every task.")
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--write", type=Path, help="Put the tables between the marks of this page.")
    options = parser.parse_args()
    tasks, _ = catalog.resolve(options.tasks)
    # Only replies can be made up from targets; tasks that ask for likelihoods or embeddings are left out.
    tables = page(merged(ladder(task, options.samples) for task in tasks if task.asks == "generate"))
    print(tables)
    if options.write is not None:
        text = options.write.read_text(encoding="utf-8")
        options.write.write_text(put(text, "ladder", tables), encoding="utf-8")


if __name__ == "__main__":
    main()
