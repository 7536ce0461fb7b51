"""The tiny model on real brain MR: fine-tuned on 20 patients, compared with two baselines on 8 others.

Stages III and IV run again on SA-Med2D-20M's slices of gliomas, from the weights of the trained tiny model. Then the
harness evaluates the fine-tuned model, the model before fine-tuning, and the baselines on the same slices; differences
are paired, and their intervals resample patients. Nothing that is finished is done again.

    python -m benchmarks.brain_mr --data-root DIR [--start MODEL] [--out runs/brain-mr] [--write docs/brain-mr.md]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.ablations.paired_scores import ClusterSums, Number, read_sums
from benchmarks.markdown import put
from harness.errors import HarnessError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.paths import default_cache
from harness.records import Json
from harness.scoring.intervals import Estimator, Interval, bootstrap_seed, intervals
from reference_model.adapter import Reference
from reference_model.training.handover import MODEL, stage_folder
from reference_model.training.recipe_files import load_recipe

HERE = Path(__file__).parent
RECIPE, TASK_PATH = HERE / "recipe.yaml", HERE / "tasks"
TASK = "samed2d_brain_mr"
# `medplib` would cut our model's probabilities at 0.1, while the baselines give masks only.
DICE = Number(title="mDice", task=TASK, metric="dice", protocol="standard", name="dice")
ADAPTER = "reference_model.adapter:Reference"
# The model whose weights come with the package.
TINY = "tiny"
OURS = "fine-tuned"
MARK = "brain-mr"
EXIT_BAD_INPUT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """A model that is evaluated.

    Attributes:
        title: Its name in the table.
        model: Reference of the model, as `harness run --model` takes it.
        arguments: Arguments of its adapter.
    """

    title: str
    model: str
    arguments: Mapping[str, Json]

    @property
    def folder(self) -> str:
        """Name of its run directory."""
        return self.title.replace(" ", "-").replace(":", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """The numbers of one contestant.

    Attributes:
        title: Title of the contestant.
        value: Mean Dice over the samples.
        interval: Interval of `value` over patients.
        behind: The fine-tuned model's value minus this one.
        behind_interval: Interval of `behind`, from pairs of the same slice.
    """

    title: str
    value: float
    interval: Interval
    behind: float
    behind_interval: Interval


def contestants(start: str, tuned: Path) -> list[Contestant]:
    """Return the models to evaluate, the fine-tuned one first."""
    # The baselines need no training: Otsu's threshold, and a box in the centre of the image.
    return [
        Contestant(title=OURS, model=ADAPTER, arguments={"model": str(tuned)}),
        Contestant(title="before", model=ADAPTER, arguments={"model": start}),
        Contestant(title="baseline:otsu", model="baseline:otsu", arguments={}),
        Contestant(title="baseline:center-box", model="baseline:center-box", arguments={}),
    ]


def fine_tune(start: Path, data_root: str, out: Path, *, share: float) -> Path:
    """Train a share of the steps of both stages, or the part that is missing; return the folder of the model.

    Raises:
        HarnessError: The data are absent, or `out` holds another training.
    """
    from reference_model.training.progress_bar import TrainingBar
    from reference_model.training.stages import StagedTraining

    recipe = replace(load_recipe(str(RECIPE)), data_roots=(data_root,))
    with TrainingBar() as bar:
        run = StagedTraining(
            recipe=recipe,
            out=out,
            cache=default_cache(),
            start=start,
            share=share,
            notice=bar.notice,
            watcher=bar,
        )
        run.stages([stage.number for stage in recipe.stages])
    return stage_folder(out, recipe.stages[-1].number) / MODEL


def ask(contestant: Contestant, data_root: str, out: Path) -> Path:
    """Evaluate one contestant on the held-out patients; return its run directory."""
    folder = out / contestant.folder
    spec = RunSpec(
        tasks=(TASK,),
        task_paths=(TASK_PATH,),
        model=contestant.model,
        model_args=contestant.arguments,
        data_roots=(data_root,),
        out=folder,
        ray="off",
        # A model that answers nothing is a result: its samples count with the worst value.
        max_failures="100%",
    )
    evaluate(spec)
    return folder


def outcomes(titles: Sequence[str], found: ClusterSums) -> list[TrainingOutcome]:
    """Return the numbers of each contestant; the others are compared with the first.

    Args:
        titles: Titles of the contestants.
        found: Their sums of Dice by patient, in the same order.
    """
    # Counts are equal for all: Dice is defined wherever the target has a pixel, and every slice shows a glioma.
    values, counts = found.sums[:, :, 0, 0], found.sums[0, :, 0, 1]
    # One matrix for all estimators, so that values and differences come from the same draws.
    sums = np.column_stack([*values, counts])
    places = range(len(titles))
    estimators = [*(_mean(place) for place in places), *(_behind(place) for place in places)]
    drawn = intervals(sums, estimators, seed=bootstrap_seed(TASK))
    total = sums.sum(axis=0)
    return [
        TrainingOutcome(
            title=title,
            value=float(_mean(place)(total)),
            interval=drawn[place],
            behind=float(_behind(place)(total)),
            behind_interval=drawn[len(titles) + place],
        )
        for place, title in enumerate(titles)
    ]


def _mean(place: int) -> Estimator:
    return lambda sums: sums[..., place] / sums[..., -1]


def _behind(place: int) -> Estimator:
    return lambda sums: (sums[..., 0] - sums[..., place]) / sums[..., -1]


def table(found: Sequence[TrainingOutcome], samples: int, patients: int) -> str:
    """Return the table of the numbers in Markdown."""
    lines = [
        f"{samples} slices of {patients} patients; intervals of 95 % over patients.",
        "",
        "| model | mDice | fine-tuned minus this |",
        "| --- | --- | --- |",
    ]
    for one in found:
        behind = "" if one.title == OURS else f"{one.behind:+.3f}{_bounds(one.behind_interval, '+.3f')}"
        lines.append(f"| {one.title} | {one.value:.3f}{_bounds(one.interval, '.3f')} | {behind} |")
    return "\n".join(lines)


def _bounds(interval: Interval, form: str) -> str:
    return "" if interval.bounds is None else f" [{interval.bounds[0]:{form}}, {interval.bounds[1]:{form}}]"


def run(options: argparse.Namespace) -> None:
    """Train, evaluate, compare, and print or write the table.

    Raises:
        HarnessError: The data or the weights are absent, or a folder holds something else.
    """
    start = Reference(options.start).folder
    tuned = fine_tune(start, options.data_root, options.out / "training", share=options.share)
    asked = contestants(options.start, tuned)
    found = read_sums([ask(one, options.data_root, options.out) for one in asked], DICE)
    samples = int(found.sums[0, :, :, 1].sum())
    shown = table(outcomes([one.title for one in asked], found), samples, len(found.clusters))
    print(shown)
    if options.write is not None:
        page = options.write.read_text(encoding="utf-8")
        options.write.write_text(put(page, MARK, shown), encoding="utf-8")


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", required=True, help="folder that holds SAMed2Dv1")
    parser.add_argument("--start", default=TINY, help="model to begin with: tiny, or its folder")
    parser.add_argument("--out", type=Path, default=Path("runs/brain-mr"), help="where everything is kept")
    parser.add_argument("--share", type=float, default=1.0, help="of the steps, to be quick")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this page")
    return parser


def main() -> None:
    """Do what the command line asks for."""
    try:
        run(arguments().parse_args())
    except HarnessError as error:
        print(f"brain_mr: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


if __name__ == "__main__":
    main()
