"""How M3D asks about one class of one volume, and what a perfect model would answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.data.releases.m3d.seg_layout import Entry
from harness.data.releases.m3d.wording import Asks, Kind, Wording
from harness.imaging.masks import bounding_box
from harness.records import Box, Entity, Target
from harness.text.boxes import m3d_corners, m3d_text

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage, ReleaseMask

NOT_THERE = "no"
"""Answer where the name of something is asked for that is not there: a refusal in words holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One class of one volume.

    Attributes:
        entry: The record that names it.
        picture: The volume.
        index: Of the class; -1 where the release does not tell.
        name: Of the class; of its file where the class is not known.
        outline: What it covers; nothing where the volume does not show it.
        defect: Why it cannot be asked about; None where it can.
    """

    entry: Entry
    volume: "ReleaseImage"
    index: int
    name: str
    release_mask: "ReleaseMask"
    defect: str | None

    @property
    def box(self) -> Box | None:
        """The tight half-open box; None where there is nothing."""
        return None if self.release_mask.mask is None else bounding_box(self.release_mask.mask)

    @property
    def absent(self) -> bool:
        """Whether the volume is known not to show the class."""
        return self.release_mask.mask is not None and not self.release_mask.area


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioner:
    """Puts one kind of question about a scene into words.

    Attributes:
        wording: The templates.
        asks: For a mask (`segmentation`), a box (`rec`), or what fills a box (`reg`).
        kind: By the name of the class or by its definition.
        sample_id: Draws the templates.
        definition: Of the class; empty where it has none or the kind needs none.
        named: The answer is the bare name of the class.
    """

    wording: Wording
    asks: Asks
    kind: Kind
    sample_id: str
    definition: str
    named: bool = False

    def question(self, scene: Scene) -> str:
        """Return what is asked; where there is no box to name, the released code asks for one."""
        if self.asks == "reg" and not scene.absent:
            return self._words("reg", "questions", "<box>")
        asks: Asks = "rec" if self.asks == "reg" else self.asks
        return self._words(asks, "questions", scene.name if self.kind == "category" else self.definition)

    def target(self, scene: Scene) -> Target:
        """Return what a perfect model would answer; the box in its words lies in M3D's frame."""
        masked = scene.release_mask.mask if self.asks == "segmentation" else None
        return Target(
            answers=(self._answer(scene),),
            entities=(Entity(name=scene.name, mask=masked),),
            boxes=(scene.box,) if self.asks == "rec" and scene.box is not None else (),
            absent=scene.absent,
        )

    def _answer(self, scene: Scene) -> str:
        if self.named:
            return NOT_THERE if scene.absent else scene.name
        if scene.box is None or scene.release_mask.mask is None:
            return self._words(self.asks, "no_answers", scene.name)
        name = () if self.kind == "category" else (scene.name,)
        if self.asks == "segmentation":
            return self._words("segmentation", "answers", *name)
        if self.asks == "rec":
            box = self.wording.boxed(m3d_text(m3d_corners(scene.release_mask.mask)))
            return self._words("rec", "answers", *name, box)
        return self._words("reg", "answers", scene.name, *((self.definition,) if name else ()))

    def _words(self, asks: Asks, part: str, *slots: str) -> str:
        prefix = "cls" if self.kind == "category" else "des"
        return self.wording.words(asks, f"{prefix}_{part}", self.sample_id, *slots)
