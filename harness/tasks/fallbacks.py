"""The table of fallbacks: how a task may be asked of a model that lacks an input the task uses.

A visual prompt becomes coordinates in the words, paint over the image, or a crop. Words are left out if a visual prompt
says what to mark. A volume is shown as slices, by their number or by a recipe.
`harness.requests.visual_prompt_fallbacks` and `harness.requests.volume_slices` carry them out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from harness.tasks.volume_recipes import RECIPES

Kind = Literal["box", "point", "region", "text", "volume"]
Way = Literal["text", "overlay", "crop", "nothing", "slices"]

FRAMES = ("original", "unit", "per_mille")
ALL_SLICES = "all"
MOST_MARGIN = 10.0  # largest margin of a crop, as a share of the longer side of the box or region


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One row of the table.

    Attributes:
        kind: The input that the model does not take.
        way: How the request shows it instead.
        options: The values that a task may choose from; empty if it gives a margin, a number from 0 to MOST_MARGIN. For
            slices it may also give their number.
    """

    kind: Kind
    way: Way
    options: tuple[str, ...] = ()

    @property
    def visual_prompt(self) -> str:
        """The value of the task's key `visual_prompt` that the fallback serves; each also serves `from_sample`."""
        return "points" if self.kind == "point" else self.kind

    def suits(self, visual_prompt: str) -> bool:
        """Return whether a task with this value of the key may have the fallback."""
        if self.kind == "text":
            return visual_prompt != "none"
        if self.kind == "volume":
            return True
        return visual_prompt in (self.visual_prompt, "from_sample")


FALLBACKS: Mapping[str, Fallback] = {
    "box_as_text": Fallback(kind="box", way="text", options=FRAMES),
    "box_as_overlay": Fallback(kind="box", way="overlay", options=("outline",)),
    "box_as_crop": Fallback(kind="box", way="crop"),
    "point_as_overlay": Fallback(kind="point", way="overlay", options=("dot",)),
    "region_as_box_text": Fallback(kind="region", way="text", options=FRAMES),
    "region_as_overlay": Fallback(kind="region", way="overlay", options=("outline", "fill")),
    "region_as_crop": Fallback(kind="region", way="crop"),
    "volume_as_slices": Fallback(kind="volume", way="slices", options=(ALL_SLICES, *RECIPES)),
    "text_left_out": Fallback(kind="text", way="nothing", options=("where_pointed",)),
}

# Word -> RGB, in the order of use. The colours are saturated, so that the first stands out from grey images, skin,
# mucosa and stained tissue alike, and each has a common name of one word.
COLOURS: Mapping[str, tuple[int, int, int]] = {
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
}

# A line is this part of the image's longer side: 4 pixels of 512, and more than 2 once a model has shrunk the image to
# the usual 336. A dot's radius is two lines.
LINE_SHARE = 128
FILL_OPACITY = 40  # percent of colour in a fill: visible at once, with the texture below still readable

# The words in place of a mark whose prompt is painted: a model that was not trained on marks must learn from the words
# which paint is meant, by its colour, since a sample may have several. They are in brackets, because releases write
# the mark after a noun as often as in its place: `What's in the object <region>?` The words are our own: no paper
# prints how it names a painted or cropped region to a model.
PHRASES: Mapping[tuple[Kind, str], str] = {
    ("region", "outline"): "(the region outlined in {colour})",
    ("region", "fill"): "(the region shaded in {colour})",
    ("box", "outline"): "(the {colour} box)",
    ("point", "dot"): "(the {colour} {dots})",
}
# The words in place of a mark if the image is cropped to the prompt: nothing else is left to point at.
CROPPED = "(the part shown in this image)"


def first_of(fallbacks: Mapping[str, str | float], kind: Kind) -> str | None:
    """Return the first of a task's fallbacks for `kind`; None if it has none."""
    return next((name for name in fallbacks if FALLBACKS[name].kind == kind), None)
