"""Cost of the ablations before they run: trainings, their steps, and minutes."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from benchmarks.ablations.arms import PARENTS, Study, jobs_of
from benchmarks.ablations.runs import Ablations
from harness.errors import SpecError
from reference_model.training.recipe import Recipe, Stage

LOG = "log.jsonl"
# Time in which a training reads data and weights before its first step.
READING_SECONDS = 8.0


def plan(ablations: Ablations, study: Study, timings: Path | None) -> str:
    """Return a table of the trainings of one seed, and the minutes of all.

    Args:
        ablations: The trainings to plan.
        study: Says how long steps and evaluations take.
        timings: Folder with logs of trainings that had all cores; None: the times of the study.
    Raises:
        SpecError: A stage counts epochs, or has no log.
    """
    lengths = {stage.number: steps_of(stage) for stage in ablations.recipe.stages}
    seconds = study.step_seconds if timings is None else step_seconds(ablations.recipe, timings)
    lines = [f"{'training':<18}{'stage':>6}{'steps':>8}{'minutes':>9}"]
    total = 0.0
    for job in jobs_of(ablations.recipe, ablations.arms):
        if ablations.parents is not None and job.stage.number == PARENTS:
            continue
        # Rounded as the training rounds a share of a stage's steps.
        steps = max(1, round(ablations.share * lengths[job.stage.number]))
        spent = READING_SECONDS + steps * seconds[job.stage.number] + (study.evaluation_seconds if job.arm else 0.0)
        lines.append(f"{job.name:<18}{job.stage.number:>6}{steps:>8}{spent / 60:>9.1f}")
        total += spent
    seeds = len(ablations.seeds)
    lines.append(f"{seeds} seeds, one training after the other with all cores, evaluations included:")
    lines.append(f"{seeds * total / 60:.0f} minutes; several at once, each with its share of the cores, take less")
    return "\n".join(lines)


def step_seconds(recipe: Recipe, timings: Path) -> Mapping[int, float]:
    """Return stage number -> seconds per step.

    Raises:
        SpecError: A stage counts epochs, or has no log.
    """
    # All logs of a stage count together: a folder may hold several seeds.
    spent: defaultdict[str, list[float]] = defaultdict(list)
    for log in timings.rglob(LOG):
        spent[log.parent.name] += [json.loads(line)["seconds"] for line in log.read_text(encoding="utf-8").splitlines()]
    lacking = [stage.number for stage in recipe.stages if not spent[f"stage-{stage.number}"]]
    if lacking:
        named = ", ".join(map(str, lacking))
        raise SpecError(f"--timings {timings}: expected logs of every stage of {recipe.name}, found none of {named}")
    return {stage.number: fmean(spent[f"stage-{stage.number}"]) for stage in recipe.stages}


def steps_of(stage: Stage) -> int:
    """Return the number of steps of a stage.

    Raises:
        SpecError: The stage counts epochs.
    """
    if stage.steps is None:
        raise SpecError(f"--plan: stage {stage.number} counts epochs, not steps; only its data tell how long it is")
    return stage.steps
