"""Patients with a CT of the abdomen: who has what, in which split, and the report on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.phantoms.drawing.abdomen_ct import Abdomen, DrawnLesion, Ordered, Phase, Plane, Triple, spacing_mm
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.patients.images import SPLITS, TURNS, Split

PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
PHASES: tuple[Phase, ...] = ("non contrast", "arterial", "portal venous", "delayed")
ORGANS = (
    *("lungs", "liver", "stomach", "spleen", "pancreas", "gallbladder", "right kidney", "left kidney", "bladder"),
    *("aorta", "spine"),
)
"""All that may be drawn, in the order of drawing."""
REMOVABLE = ("gallbladder", "spleen", "right kidney", "left kidney")
"""Organs that a patient may lack."""
HOSTS = ("liver", "spleen", "right kidney", "left kidney")
"""Organs that may have lesions."""
LESION_NAMES = ("cyst", "tumor")

ABSENT: tuple[frozenset[str], ...] = (
    *(frozenset({name}) for name in REMOVABLE),
    *(frozenset[str]() for _ in range(4)),
)
"""What a patient lacks: half of them lack nothing, and the rest each organ alike."""
LESIONS: tuple[tuple[Ordered, ...], ...] = (
    *((Ordered(organ=organ, kind="cyst"),) for organ in HOSTS),
    *((Ordered(organ=organ, kind="tumor"),) for organ in HOSTS),
    (Ordered(organ="liver", kind="cyst", count=2),),
    (Ordered(organ="liver", kind="tumor"), Ordered(organ="left kidney", kind="cyst")),
    (Ordered(organ="spleen", kind="tumor"), Ordered(organ="right kidney", kind="cyst")),
    *(() for _ in range(5)),
)
"""What a patient has: each kind in each organ, several together, or nothing in five of sixteen."""

Card = TypeVar("Card")


@dataclass(frozen=True, slots=True, kw_only=True)
class Organ:
    """A named organ and its voxels, boolean (D, H, W), lesions included; never empty."""

    name: str
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """Something in an organ that should not be there.

    Attributes:
        name: `cyst` or `tumor`.
        organ: The organ it lies in.
        side: Side of the patient: `left` or `right`.
        size_mm: Diameter in whole millimetres.
        mask: Boolean (D, H, W), never empty.
    """

    name: str
    organ: str
    side: str
    size_mm: int
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStudy:
    """One drawn CT of the abdomen, and all that is true of it.

    Attributes:
        number: Of the patient among all, from 0.
        split: Split of the patient.
        plane: How the slices lie.
        phase: When the contrast medium was seen.
        voxels: float32 (D, H, W) in Hounsfield units; rows run down the screen, columns to the right.
        spacing_mm: Voxel size along (D, H, W).
        organs: What is seen, in the order of `ORGANS`.
        absent: Organs that the patient lacks.
        lesions: What is abnormal, the largest first.
        report: What a radiologist might write, findings that are not there included.
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
        """Return an organ by its name; None where it is not seen."""
        return next((organ for organ in self.organs if organ.name == name), None)

    def lesions_in(self, organ: str, name: str | None = None) -> tuple[Lesion, ...]:
        """Return the lesions of an organ, all or those of one name."""
        return tuple(one for one in self.lesions if one.organ == organ and name in (None, one.name))


def draw_volumes(*, seed: int, patients: int, planes: Sequence[Plane] = PLANES) -> Iterator[VolumeStudy]:
    """Yield one study per patient; what a patient has depends on the seed, its number and `planes` only.

    Planes, phases, lesions and missing organs are dealt out within each split, so that none of them goes with another.

    Args:
        seed: Draws another set of patients.
        patients: Number of patients, at least 0; half of them train and three in eight test.
        planes: How slices may lie.
    """
    for number in range(patients):
        yield _draw(seed, number, planes)


def _draw(seed: int, number: int, planes: Sequence[Plane]) -> VolumeStudy:
    split = TURNS[number % len(TURNS)]
    hand = number // len(TURNS) * TURNS.count(split) + TURNS[: number % len(TURNS)].count(split)
    deck = [seed, 7, SPLITS.index(split)]
    random = np.random.default_rng([seed, number, 7])
    ordered = _card(LESIONS, hand, [*deck, 0])
    absent = _card(ABSENT, hand, [*deck, 1]) - {order.organ for order in ordered}
    plane, phase = _card(planes, hand, [*deck, 2]), _card(PHASES, hand, [*deck, 3])
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


def _card(cards: Sequence[Card], hand: int, deck: Sequence[int]) -> Card:
    """Return what the `hand`-th patient is dealt when the same cards are shuffled and dealt out again and again."""
    round_number, place = divmod(hand, len(cards))
    order = np.random.default_rng([*deck, round_number]).permutation(len(cards))
    return cards[int(order[place])]


def _lesion(drawn: DrawnLesion) -> Lesion:
    return Lesion(
        name=drawn.kind,
        organ=drawn.organ,
        side="left" if drawn.centre[0] > 0 else "right",
        size_mm=round(2 * drawn.radius_mm),
        mask=drawn.mask,
    )


def _height(mask: Bools, plane: Plane, spacing: Triple) -> int:
    """Return how far a mask reaches from head to foot, in whole millimetres."""
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
    """Return a report: how the scan was made, then what is seen and not seen, organ by organ."""
    opening = (
        f"{plane.capitalize()} CT of the abdomen, {phase} phase.",
        f"CT of the abdomen in {plane} slices, {phase} phase.",
        f"{phase.capitalize()} phase CT of the abdomen, {plane} view.",
    )
    sentences = [opening[int(random.integers(len(opening)))]]
    for organ in HOSTS:
        own = [lesion for lesion in lesions if lesion.organ == organ]
        sentences.append(_organ_sentence(organ, organ in absent, heights.get(organ), own, random))
    if "gallbladder" in absent:
        sentences.append("The gallbladder has been removed.")
    else:
        sentences.append("The gallbladder is in place, without stones.")
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
