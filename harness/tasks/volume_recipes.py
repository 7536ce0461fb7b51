"""The table of volume recipes: named and versioned ways to show a volume to a model that takes images.

A task names one in its fallback `volume_as_slices`, a user in `--model-args volume=NAME`, an adapter in
`Capabilities.volume`. `harness.requests.volume_slices` carries them out. Any change of a row that changes pixels, their
number or the words beside them needs a new version, which changes the keys of all requests that use it.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from harness.errors import SpecError, nearest
from harness.records import Capabilities, Json

Plane = Literal["axial", "coronal", "sagittal"]
Choice = Literal["all", "count", "content", "spacing", "up_to_the_last"]
Order = Literal["marked", "images_first", "text_first"]

# The argument of every model, unless the model has one of this name itself.
ARGUMENT = "volume"

# (low, high) in Hounsfield units. The first five are level and width as radiologists set them: Radiopaedia, "Windowing
# (CT)", https://radiopaedia.org/articles/windowing-ct: lung -600/1500, soft tissue 50/400, bone 400/1800, brain 40/80.
# The others are the channels that MedGemma 1.5 was trained with, by its notebook `high_dimensional_ct_hugging_face`.
WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung": (-1350.0, 150.0),
    "soft-tissue": (-150.0, 250.0),
    "bone": (-500.0, 1300.0),
    "brain": (0.0, 80.0),
    "medgemma-wide": (-1024.0, 1024.0),
    "medgemma-soft-tissue": (-135.0, 215.0),
    "medgemma-brain": (0.0, 80.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One row of the table.

    Attributes:
        name: As tasks and users write it.
        summary: What a model gets, in a sentence.
        version: Raised with any change of what a model gets.
        planes: Directions of the slices, one after the other.
        choice: `all` slices; the middles of `number` equal parts (`count`), the same of the part that is not empty
            (`content`), one every `number` mm (`spacing`), or `number` slices with the last of the volume among them.
        number: Slices of each plane, or mm.
        windows: Names in WINDOWS, one or three for red, green and blue; empty: the window of the task, else the 0.5th
            to the 99.5th percentile of the volume.
        grid: (rows, columns) of slices in one image; None: an image each.
        order: Images where the words have their mark, else in front; or all in front, or all behind.
        label: Words behind each image, with `{place}` from 1 on and `{count}`; empty: none.
    """

    name: str
    summary: str
    version: int = 1
    planes: tuple[Plane, ...] = ("axial",)
    choice: Choice = "count"
    number: float = 0
    windows: tuple[str, ...] = ()
    grid: tuple[int, int] | None = None
    order: Order = "marked"
    label: str = ""

    @property
    def id(self) -> str:
        """Name and version, as in every key and identity."""
        return f"{self.name}/{self.version}"

    @property
    def stacks(self) -> bool:
        """Whether masks of the images add up to one of the volume: each slice is shown once, by itself."""
        return self.choice == "all" and len(self.planes) == 1 and self.grid is None


_RGB = ("lung", "soft-tissue", "bone")
_LABEL = "(slice {place} of {count})"

RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="axial-10", summary="10 axial slices, the middles of equal parts", number=10),
        Recipe(name="axial-32", summary="32 axial slices, the middles of equal parts", number=32),
        Recipe(name="axial-all", summary="every axial slice", choice="all"),
        Recipe(name="coronal-10", summary="10 coronal slices", planes=("coronal",), number=10),
        Recipe(name="coronal-all", summary="every coronal slice", planes=("coronal",), choice="all"),
        Recipe(name="sagittal-10", summary="10 sagittal slices", planes=("sagittal",), number=10),
        Recipe(name="sagittal-all", summary="every sagittal slice", planes=("sagittal",), choice="all"),
        Recipe(
            name="planes-5",
            summary="5 axial, then 5 coronal, then 5 sagittal slices",
            planes=("axial", "coronal", "sagittal"),
            number=5,
        ),
        Recipe(name="axial-5mm", summary="an axial slice every 5 mm", choice="spacing", number=5),
        Recipe(name="axial-10mm", summary="an axial slice every 10 mm", choice="spacing", number=10),
        Recipe(name="axial-content-10", summary="10 axial slices of what is not empty", choice="content", number=10),
        Recipe(name="axial-content-32", summary="32 axial slices of what is not empty", choice="content", number=32),
        Recipe(name="axial-10-lung", summary="10 axial slices, lung window", number=10, windows=("lung",)),
        Recipe(
            name="axial-10-soft-tissue",
            summary="10 axial slices, soft-tissue window",
            number=10,
            windows=("soft-tissue",),
        ),
        Recipe(name="axial-10-bone", summary="10 axial slices, bone window", number=10, windows=("bone",)),
        Recipe(name="axial-10-brain", summary="10 axial slices, brain window", number=10, windows=("brain",)),
        Recipe(
            name="axial-10-rgb",
            summary="10 axial slices; lung, soft-tissue and bone window in red, green and blue",
            number=10,
            windows=_RGB,
        ),
        Recipe(
            name="axial-10-numbered",
            summary="10 axial slices before the words, each followed by its number",
            number=10,
            order="images_first",
            label=_LABEL,
        ),
        Recipe(name="axial-10-last", summary="10 axial slices behind the words", number=10, order="text_first"),
        Recipe(
            name="medgemma-85",
            summary="85 axial slices as in Google's notebook for MedGemma 1.5: colours, numbers, words last",
            choice="up_to_the_last",
            number=85,
            windows=("medgemma-wide", "medgemma-soft-tissue", "medgemma-brain"),
            order="images_first",
            label="SLICE {place}",
        ),
        Recipe(name="montage-9", summary="9 axial slices as one image of 3 x 3", number=9, grid=(3, 3)),
        Recipe(name="montage-16", summary="16 axial slices as one image of 4 x 4", number=16, grid=(4, 4)),
        Recipe(
            name="montage-16-content",
            summary="16 axial slices of what is not empty as one image of 4 x 4",
            choice="content",
            number=16,
            grid=(4, 4),
        ),
        Recipe(
            name="montage-16-rgb",
            summary="16 axial slices as one image of 4 x 4, three windows in colour",
            number=16,
            windows=_RGB,
            grid=(4, 4),
        ),
    )
}


def recipe_argument(factory: Any, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Return the argument that names a recipe; none if `volume` is an argument of the model's own.

    Args:
        factory: The class or function that builds the model.
        arguments: Those of `--model-args`.
    """
    if ARGUMENT not in arguments:
        return {}
    try:
        own = set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some classes written in C have no signature
        own = set()
    return {} if ARGUMENT in own else {ARGUMENT: arguments[ARGUMENT]}


def with_recipe(text: str, capabilities: Capabilities, arguments: Mapping[str, Json]) -> Capabilities:
    """Return the capabilities with the recipe that the user names, else with the adapter's own, after checking it.

    Args:
        text: The model's reference, for messages.
        capabilities: The adapter's own.
        arguments: From `recipe_argument`.
    Raises:
        SpecError: There is no such recipe, or the model takes no images, or answers from the targets.
    """
    where = f"--model-args {ARGUMENT}" if arguments else f"--model {text}: capabilities().{ARGUMENT}"
    name: object = arguments.get(ARGUMENT, capabilities.volume)
    if name is None and not arguments:
        return capabilities
    if not isinstance(name, str) or name not in RECIPES:
        raise SpecError(
            f"{where}: expected one of {', '.join(RECIPES)} (`harness list recipes`), found {name!r}"
            f"{nearest(str(name), list(RECIPES))}"
        )
    if not capabilities.takes & {"image", "images"}:
        takes = ", ".join(sorted(capabilities.takes)) or "nothing"
        raise SpecError(f"{where}: expected a model that takes image or images, found one that takes {takes}")
    if told := sorted(capabilities.takes & {"prior", "target"}):
        # Its answers are about the volume, not about what is shown of it.
        raise SpecError(f"{where}: expected a model that looks at images, found one that takes {' and '.join(told)}")
    return replace(capabilities, volume=name)
