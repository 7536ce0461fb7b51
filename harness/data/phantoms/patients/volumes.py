"""Synthetic patients with a CT of the abdomen: the findings and the split of each patient, and the report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.phantoms.drawing.abdomen_ct import Abdomen, DrawnLesion, Ordered, Phase, Plane, Triple, spacing_mm
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.patients.images import SPLITS, TURNS, Split, dealt

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
PHASES: tuple[Phase, ...] = ("non contrast", "arterial", "portal venous", "delayed")
# All organs that may be drawn, in the order of drawing.
ORGANS = (
    *("lungs", "liver", "stomach", "spleen", "pancreas", "gallbladder", "right kidney", "left kidney", "bladder"),
    *("aorta", "spine"),
)
# Organs that a patient may lack.
REMOVABLE = ("gallbladder", "spleen", "right kidney", "left kidney")
# Organs that may have lesions.
HOSTS = ("liver", "spleen", "right kidney", "left kidney")

# What a patient lacks: half of the patients lack nothing, and the rest each organ alike.
ABSENT: tuple[frozenset[str], ...] = (
    *(frozenset({name}) for name in REMOVABLE),
    *(frozenset[str]() for _ in range(4)),
)
# Lesions of a patient: each kind in each organ, several together, or none in five of sixteen.
LESIONS: tuple[tuple[Ordered, ...], ...] = (
    *((Ordered(organ=organ, kind="cyst"),) for organ in HOSTS),
    *((Ordered(organ=organ, kind="tumor"),) for organ in HOSTS),
    (Ordered(organ="liver", kind="cyst", count=2),),
    (Ordered(organ="liver", kind="tumor"), Ordered(organ="left kidney", kind="cyst")),
    (Ordered(organ="spleen", kind="tumor"), Ordered(organ="right kidney", kind="cyst")),
    *(() for _ in range(5)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Organ:
    """An organ by its name, and its mask, boolean (D, H, W) with lesions included; never empty."""

    name: str
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """A lesion of an organ.

    Attributes:
        name: `cyst` or `tumor`.
        organ: The organ that holds it.
        side: Side of the patient: `left` or `right`.
        size_mm: Diameter, rounded to whole millimetres.
        mask: Boolean (D, H, W), never empty.
    """

    name: str
    organ: str
    side: str
    size_mm: int
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStudy:
    """The synthetic CT of one patient's abdomen, and the facts about it.

    Attributes:
        number: Number of the patient among all, from 0.
        split: Split of the patient.
        plane: Plane of the slices.
        phase: When the contrast medium was seen.
        voxels: float32 (D, H, W) in Hounsfield units; rows run down the screen, columns to the right.
        spacing_mm: Voxel size along (D, H, W) in mm.
        organs: The organs that are seen, in the order of `ORGANS`.
        absent: Organs that the patient lacks, in alphabetical order.
        lesions: The lesions, the largest first.
        report: A report as a radiologist might write it; it also names findings that are absent.
    """

    number: int
    split: Split
    plane: Plane
    phase: Phase
    voxels: NDArray[np.float32]
    spacing_mm: Triple
    organs: tuple[Organ, ...]
    absent: tuple[str, ...]
    lesions: tuple[Lesion, ...]
    report: str

    def organ(self, name: str) -> Organ | None:
        """Return an organ by its name; None if it is not seen."""
        return next((organ for organ in self.organs if organ.name == name), None)

    def lesions_in(self, organ: str, name: str | None = None) -> tuple[Lesion, ...]:
        """Return the lesions of an organ: those called `name`, or all if it is None."""
        return tuple(one for one in self.lesions if one.organ == organ and name in (None, one.name))


def draw_volumes(*, seed: int, patients: int, planes: Sequence[Plane] = PLANES) -> Iterator[VolumeStudy]:
    """Yield one study per patient, which depends on the seed, the patient's number and `planes` only.

    Planes, phases, lesions and missing organs are dealt out within each split, so that none of them goes with another.

    Args:
        seed: Random seed, at least 0; another seed gives other patients.
        patients: Number of patients, at least 0; half of them train and three in eight test.
        planes: Planes of slices that are dealt out.
    """
    for number in range(patients):
        yield _draw(seed, number, planes)


def _draw(seed: int, number: int, planes: Sequence[Plane]) -> VolumeStudy:
    split = TURNS[number % len(TURNS)]
    hand = number // len(TURNS) * TURNS.count(split) + TURNS[: number % len(TURNS)].count(split)
    deck = [seed, 7, SPLITS.index(split)]
    random = np.random.default_rng([seed, number, 7])
    ordered = dealt(LESIONS, hand, [*deck, 0])
    # An organ that is to have a lesion is there.
    absent = dealt(ABSENT, hand, [*deck, 1]) - {order.organ for order in ordered}
    plane, phase = dealt(planes, hand, [*deck, 2]), dealt(PHASES, hand, [*deck, 3])
    abdomen = Abdomen(random=random, plane=plane, phase=phase, absent=absent)
    abdomen.draw(ordered)
    organs = tuple(Organ(name=name, mask=mask) for name, mask in abdomen.organs.items() if mask.any())
    lesions = tuple(sorted(map(_lesion, abdomen.lesions), key=lambda lesion: -lesion.size_mm))
    spacing = spacing_mm(plane)
    heights = {organ.name: _height(organ.mask, plane, spacing) for organ in organs}
    return VolumeStudy(
        number=number,
        split=split,
        plane=plane,
        phase=phase,
        voxels=abdomen.voxels,
        spacing_mm=spacing,
        organs=organs,
        absent=tuple(sorted(absent)),
        lesions=lesions,
        report=_report(plane, phase, heights, absent, lesions, random),
    )


def _lesion(drawn: DrawnLesion) -> Lesion:
    return Lesion(
        name=drawn.kind,
        organ=drawn.organ,
        side="left" if drawn.centre[0] > 0 else "right",
        size_mm=round(2 * drawn.radius_mm),
        mask=drawn.mask,
    )


def _height(mask: Bools, plane: Plane, spacing: Triple) -> int:
    """Return how far a mask, boolean (D, H, W), reaches from head to foot, in whole millimetres."""
    # Head to foot is the stack of an axial volume, and the rows of the others.
    axis = 0 if plane == "axial" else 1
    others = tuple(number for number in range(3) if number != axis)
    rows = np.flatnonzero(mask.any(axis=others))
    return round(float(rows[-1] - rows[0] + 1) * spacing[axis])


def _report(
    plane: Plane,
    phase: Phase,
    heights: dict[str, int],
    absent: frozenset[str],
    lesions: Sequence[Lesion],
    random: Generator,
) -> str:
    """Return a report: how the scan was made, then the findings and absent findings, organ by organ.

    Args:
        heights: Organ -> its extent from head to foot in mm.
    """
    opening = (
        f"{plane.capitalize()} CT of the abdomen, {phase} phase.",
        f"CT of the abdomen in {plane} slices, {phase} phase.",
        f"{phase.capitalize()} phase CT of the abdomen, {plane} view.",
    )
    sentences = [opening[int(random.integers(len(opening)))]]
    for organ in HOSTS:
        own = [lesion for lesion in lesions if lesion.organ == organ]
        sentences.append(_organ_sentence(organ, organ in absent, heights.get(organ), own, random))
    missing = "gallbladder" in absent
    sentences.append(f"The gallbladder {'has been removed' if missing else 'is in place, without stones'}.")
    if not lesions:
        sentences.append("No abnormal lesion is seen.")
    return " ".join(sentences)


def _organ_sentence(organ: str, removed: bool, height: int | None, lesions: Sequence[Lesion], random: Generator) -> str:
    if removed or height is None:
        return f"The {organ} is not seen."
    sized = f"The {organ} measures {height} mm from top to bottom"
    if not lesions:
        endings = ("and shows no focal lesion", "and is unremarkable", "without cyst or tumor")
        return f"{sized} {endings[int(random.integers(len(endings)))]}."
    found = " and ".join(f"a {lesion.size_mm} mm {lesion.name}" for lesion in lesions)
    endings = (f"and contains {found}", f"with {found} inside", f"and shows {found}")
    return f"{sized} {endings[int(random.integers(len(endings)))]}."
