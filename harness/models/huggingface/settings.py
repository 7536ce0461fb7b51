"""How a reply is generated: the task's settings, with what `--model-args` puts in their place."""

from collections.abc import Mapping
from typing import Any

from harness.errors import SpecError
from harness.records import Json

# Of this value a setting is left to the checkpoint's own `generation_config.json`.
OMIT = "omit"
# Whole numbers, with the least of each; all others are numbers of at least 0.
COUNTS: Mapping[str, int] = {"max_new_tokens": 1, "min_new_tokens": 0, "top_k": 1, "num_beams": 1}
# These only count where tokens are sampled.
SAMPLING = ("temperature", "top_p", "top_k")


def checked(overrides: Mapping[str, Json]) -> dict[str, Json]:
    """Return the settings that are given, None being none.

    Raises:
        SpecError: One has another type than the task's of the same name.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    for name, value in given.items():
        whole, least = name in COUNTS, COUNTS.get(name, 0)
        fits = type(value) is int if whole else isinstance(value, int | float) and not isinstance(value, bool)
        if value != OMIT and not (fits and value >= least):
            raise SpecError(
                f"--model-args {name}: expected a {'whole ' if whole else ''}number of at least {least}, or {OMIT}, "
                f"found {value!r}"
            )
    return given


def generation_arguments(
    decoding: Mapping[str, Json], overrides: Mapping[str, Json], further: Mapping[str, Json]
) -> dict[str, Any]:
    """Return the arguments of `generate()`.

    Args:
        decoding: Of the request, as the task gives it.
        overrides: Checked; they count more.
        further: Fields of transformers' GenerationConfig; they count most.
    """
    wanted = {name: value for name, value in {**decoding, **overrides}.items() if value != OMIT}
    temperature = wanted.get("temperature")
    if temperature == 0:
        wanted = {name: value for name, value in wanted.items() if name not in SAMPLING} | {"do_sample": False}
    elif temperature is not None:
        wanted["do_sample"] = True
    return {**wanted, **further}
