"""Cost of the ablations before they run: trainings, their steps, and minutes."""

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean

from benchmarks.ablations.arms import jobs_of
from benchmarks.ablations.runs import Ablations
from harness.errors import SpecError
from reference_model.training.recipe import Recipe, Stage

LOG = "log.jsonl"
# Time of the whole recipe on two cores, 17 minutes of training and 1 of generating patients (docs/benchmarks.md); used
# if there is no log.
RECIPE_MINUTES = 18.0
# Time in which a training reads data and weights before its first step.
READING_SECONDS = 8.0
# Time of one arm's evaluation, 862 questions on `phantom:0`, on one core.
EVALUATION_SECONDS = 25.0


def plan(ablations: Ablations, timings: Path | None) -> str:
    """Return a table of the trainings of one seed, and the minutes of all.

    Args:
        ablations: The trainings to plan.
        timings: Folder with logs of trainings that had all cores; None: the recipe takes `RECIPE_MINUTES`, and all
            steps take the same time.
    Raises:
        SpecError: A stage counts epochs, or has no log.
    """
    seconds = step_seconds(ablations.recipe, timings)
    lines = [f"{'training':<18}{'stage':>6}{'steps':>8}{'minutes':>9}"]
    total = 0.0
    for job in jobs_of(ablations.recipe, ablations.arms):
        # Rounded as the training rounds a share of a stage's steps.
        steps = max(1, round(ablations.share * steps_of(job.stage)))
        spent = READING_SECONDS + steps * seconds[job.stage.number] + (EVALUATION_SECONDS if job.arm else 0.0)
        lines.append(f"{job.name:<18}{job.stage.number:>6}{steps:>8}{spent / 60:>9.1f}")
        total += spent
    seeds = len(ablations.seeds)
    lines.append(f"{seeds} seeds, one training after the other with all cores, evaluations included:")
    lines.append(f"{seeds * total / 60:.0f} minutes; several at once, each with its share of the cores, take less")
    return "\n".join(lines)


def step_seconds(recipe: Recipe, timings: Path | None) -> Mapping[int, float]:
    """Return stage number -> seconds per step.

    Raises:
        SpecError: A stage counts epochs, or has no log.
    """
    if timings is None:
        steps = sum(steps_of(stage) for stage in recipe.stages)
        return {stage.number: 60 * RECIPE_MINUTES / steps for stage in recipe.stages}
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
