"""Exports a finished training: weights in 16 bits, the recipe, and shortened logs."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.records.atomic_files import write_atomically
from reference_model.checkpoints.checkpoint import load_model, save_model
from reference_model.training.handover import finished_model, stage_folder
from reference_model.training.log import LOG, STAGE, LoggedStep, read_log
from reference_model.training.recipe import Recipe

# An exported log is only plotted, for which these steps and digits suffice.
STEPS_A_LINE = 5
DIGITS = 4
RECIPE = "recipe"


def export(out: Path, recipe: Recipe, recipe_file: Path, to: Path) -> None:
    """Write the model of a recipe's last stage, the recipe and a short log into a folder; other files there stay.

    Args:
        out: The folder of the training.
        recipe: The recipe of the training.
        recipe_file: The file of that recipe; the files of its stages are its siblings.
        to: The folder to write into; created if it is missing.
    Raises:
        SpecError: The last stage is not finished.
        DataError: A log or the model cannot be read.
    """
    model, about = load_model(finished_model(out, recipe.stages[-1].number))
    beside = to.with_name(f".{to.name}.export")
    save_model(beside, model, about, half=True)
    to.mkdir(parents=True, exist_ok=True)
    for path in beside.iterdir():
        path.replace(to / path.name)
    beside.rmdir()
    (to / RECIPE).mkdir(exist_ok=True)
    for path in sorted(recipe_file.parent.glob("*.yaml")):
        shutil.copyfile(path, to / RECIPE / path.name)
    for stage in recipe.stages:
        found, kept = stage_folder(out, stage.number), stage_folder(to, stage.number)
        kept.mkdir(exist_ok=True)
        write_atomically(kept / STAGE, (found / STAGE).read_text(encoding="utf-8"))
        write_atomically(kept / LOG, "".join(step.line() for step in shortened(read_log(found))))


def shortened(steps: Sequence[LoggedStep]) -> Iterator[LoggedStep]:
    """Yield one step for every `STEPS_A_LINE`: means of the losses, sums of tokens and seconds, numbers rounded."""
    for first in range(0, len(steps), STEPS_A_LINE):
        part = steps[first : first + STEPS_A_LINE]
        yield LoggedStep(
            step=part[-1].step,
            learning_rate=_rounded(part[-1].learning_rate),
            losses={name: _rounded(sum(step.losses[name] for step in part) / len(part)) for name in part[0].losses},
            tokens=tuple(
                tuple(sum(counts) for counts in zip(*layer, strict=True))
                for layer in zip(*(step.tokens for step in part), strict=True)
            ),
            dropped=tuple(sum(counts) for counts in zip(*(step.dropped for step in part), strict=True)),
            seconds=sum(step.seconds for step in part),
        )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
