"""The settings that a stage's weights depend on, by which a state or a model of another training is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.errors import SpecError
from harness.records import Json
from harness.records.codec import digest, sha256_file
from reference_model.checkpoints.checkpoint import WEIGHTS, load_about
from reference_model.training.data import ExampleSet
from reference_model.training.loop import parts_of_step
from reference_model.training.recipe import Recipe, Stage


def stage_settings(
    recipe: Recipe, stage: Stage, sets: Sequence[ExampleSet], sources: Mapping[str, Path], *, steps: int, parts: int
) -> dict[str, Json]:
    """Return all that a stage's weights depend on.

    Args:
        recipe: The recipe of the stage.
        stage: The numbers of the stage.
        sets: The sets that it learns from.
        sources: Folders of the models that it starts from, by the part that is taken of them.
        steps: How many steps it takes.
        parts: Into how many parts its processes cut a step.
    """
    # Paths, devices and the number of processes are left out: they do not decide on the weights. So are parts that a
    # single process would cut, too, for this is the same training.
    settings = {
        "recipe": digest(_plain({"stage": asdict(stage), "model": asdict(recipe.config)})),
        "precision": recipe.precision,
        "seed": recipe.seed,
        "steps": steps,
        "data": {one.task: list(one.digests) for one in sets},
        "start": {name: sha256_file(folder / WEIGHTS) for name, folder in sources.items()},
    }
    return settings if parts == parts_of_step(stage, 1) else settings | {"parts of a step": parts}


def is_finished(model: Path, settings: Mapping[str, Json]) -> bool:
    """Return whether the finished model of a stage exists.

    Raises:
        SpecError: It exists, but is of other settings.
    """
    if not model.is_dir():
        return False
    found = load_about(model).origin.get("settings", {})
    changed = sorted(key for key in settings.keys() | found.keys() if found.get(key) != settings.get(key))
    if changed:
        raise SpecError(f"{model}: was trained with another {' and '.join(changed)}; choose another --out")
    return True


def _plain(value: Json) -> Json:
    """Return nested values with lists in place of tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
