"""M3D's question about one class of one volume, and the answer of a perfect model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.data.releases.m3d.seg_layout import Entry
from harness.data.releases.m3d.wording import Asks, Kind, Wording
from harness.imaging.masks import bounding_box
from harness.records import Box, Entity, Target
from harness.text.boxes import m3d_corners, m3d_text

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage, ReleaseMask

# The bare answer to a question about an absent class; a refusal in a sentence contains it.
NOT_THERE = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One class of one volume.

    Attributes:
        entry: The record that names it.
        volume: The volume.
        index: Index of the class; -1 if it is not known.
        name: Name of the class, or of its file if the class is not known.
        release_mask: The mask of the class, empty if the volume does not show it.
        defect: Why it cannot be asked about; None if it can.
    """

    entry: Entry
    volume: "ReleaseImage"
    index: int
    name: str
    release_mask: "ReleaseMask"
    defect: str | None

    @property
    def box(self) -> Box | None:
        """The tight half-open box around the mask; None if there is no voxel."""
        return None if self.release_mask.mask is None else bounding_box(self.release_mask.mask)

    @property
    def absent(self) -> bool:
        """Whether the volume is known not to show the class."""
        return self.release_mask.mask is not None and not self.release_mask.area


@dataclass(frozen=True, slots=True, kw_only=True)
class Questioner:
    """Words one kind of question about a scene, and its answer.

    Attributes:
        wording: The templates.
        asks: Asks for a mask (`segmentation`), a box (`rec`), or the class inside a box (`reg`).
        kind: Whether the class is called by its name or by its definition.
        sample_id: Id that chooses the templates.
        definition: Definition of the class; empty if it has none or the kind needs none.
        named: Whether the answer is the bare name of the class instead of a sentence.
    """

    wording: Wording
    asks: Asks
    kind: Kind
    sample_id: str
    definition: str
    named: bool = False

    def question(self, scene: Scene) -> str:
        """Return the question; if there is no box to ask about, the released code asks for one, as REC does."""
        if self.asks == "reg" and not scene.absent:
            return self._words("reg", "questions", "<box>")
        asks: Asks = "rec" if self.asks == "reg" else self.asks
        return self._words(asks, "questions", scene.name if self.kind == "category" else self.definition)

    def target(self, scene: Scene) -> Target:
        """Return the answer of a perfect model; the box in its text lies in M3D's frame, `boxes` in the volume's."""
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
