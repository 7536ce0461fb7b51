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
    """Return the settings that the weights of a stage depend on.

    Args:
        recipe: The recipe of the stage.
        stage: The configuration of the stage.
        sets: The sets that it is trained on.
        sources: Folders of the models that it starts from, by the part taken from each.
        steps: The number of steps.
        parts: The number of parts of a step.
    """
    data: dict[str, list[str]] = {}
    for one in sets:  # several splits of a task are several sets
        data.setdefault(one.task, []).extend(one.digests)
    # Paths, devices and the number of processes are left out: the weights do not depend on them. The number of parts is
    # left out if it is that of a single process, for that is the same training.
    settings = {
        "recipe": digest(_plain({"stage": asdict(stage), "model": asdict(recipe.config)})),
        "precision": recipe.precision,
        "seed": recipe.seed,
        "steps": steps,
        "data": data,
        "start": {name: sha256_file(folder / WEIGHTS) for name, folder in sources.items()},
    }
    return settings if parts == parts_of_step(stage, 1) else settings | {"parts of a step": parts}


def is_finished(model: Path, settings: Mapping[str, Json]) -> bool:
    """Return whether the finished model of a stage exists.

    Raises:
        SpecError: The model exists, but has other settings.
    """
    if not model.is_dir():
        return False
    found = load_about(model).origin.get("settings", {})
    changed = sorted(key for key in settings.keys() | found.keys() if found.get(key) != settings.get(key))
    if changed:
        raise SpecError(f"{model}: was trained with another {' and '.join(changed)}; choose another --out")
    return True


def _plain(value: Json) -> Json:
    """Return nested values with tuples turned into lists, as in JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value
