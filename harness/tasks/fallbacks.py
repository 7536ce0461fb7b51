"""What a task may do for a model that takes no visual prompt: coordinates in the words, paint over the image, a crop.

And for one that takes no words: leave them out where a visual prompt says what to mark. For one that takes no volume:
show slices of it.

Only the table; `harness.requests.visual_prompt_fallbacks` does it, `harness.requests.volume_slices` what concerns
volumes. The words are our own: no paper prints how it names a painted or cropped region to a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["box", "point", "region", "text", "volume"]
Way = Literal["text", "overlay", "crop", "nothing", "slices"]

FRAMES = ("original", "unit", "per_mille")
ALL_SLICES = "all"
MOST_MARGIN = 10.0
"""Largest margin of a crop, as a share of the longer side of what it is around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fallback:
    """One row of the table.

    Attributes:
        kind: What the model does not take.
        way: Where what is pointed at goes instead.
        options: Values a task may name; none where it names a margin, a number from 0 to MOST_MARGIN. For slices it may
            also be their number.
    """

    kind: Kind
    way: Way
    options: tuple[str, ...] = ()

    @property
    def visual_prompt(self) -> str:
        """The task key's value it belongs to, beside `from_sample`."""
        return "points" if self.kind == "point" else self.kind

    def suits(self, visual_prompt: str) -> bool:
        """Say whether it can stand in a task with this value of the key."""
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
    "volume_as_slices": Fallback(kind="volume", way="slices", options=(ALL_SLICES,)),
    "text_left_out": Fallback(kind="text", way="nothing", options=("where_pointed",)),
}

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "green": (0, 255, 0),
    "magenta": (255, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
}
"""By the word for each, in the order they are used: saturated, so that grey images, skin, mucosa and stained tissue all
leave the first to be told from the picture, and each named by one word that every model knows."""

LINE_SHARE = 128
"""A line is this part of the image's longer side: 4 pixels of 512, and more than 2 once a model has shrunk the image to
the usual 336. A dot's radius is two lines."""
FILL_OPACITY = 40
"""Percent of colour in a fill: seen at once, while the texture below stays readable."""

PHRASES: Mapping[tuple[Kind, str], str] = {
    ("region", "outline"): "(the region outlined in {colour})",
    ("region", "fill"): "(the region shaded in {colour})",
    ("box", "outline"): "(the {colour} box)",
    ("point", "dot"): "(the {colour} {dots})",
}
"""What stands in the place of a mark once its prompt is painted: a model that was not trained on marks has to be told
which paint is meant, by its colour, since a sample may have several. In brackets, because releases write the mark after
a noun as often as in the place of one: `What's in the object <region>?`"""
CROPPED = "(the part shown in this image)"
"""What stands in the place of a mark when the image is cropped to it: there is nothing else left to point at."""


def first_of(fallbacks: Mapping[str, str | float], kind: Kind) -> str | None:
    """Return the first of a task's fallbacks that stands in for `kind`; None where it names none."""
    return next((name for name in fallbacks if FALLBACKS[name].kind == kind), None)
