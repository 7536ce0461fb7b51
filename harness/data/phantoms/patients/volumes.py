"""Synthetic patients with a CT of the abdomen: the findings and the split of each patient, and the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from harness.data.phantoms.drawing.abdomen_ct import Abdomen, DrawnLesion, Ordered, Phase, Plane, Triple, spacing_mm
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.patients.images import SPLITS, TURNS, Split, dealt
from harness.errors import DataError

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
# Number of slices of an oblique series over which the shift grows by one row.
SHEAR = 2
AIR = -1000.0  # Hounsfield units of what an oblique series shows beyond the slices that it is made of

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
        size_mm: Diameter, rounded to whole millimetres; in an oblique series the width that its slices show.
        mask: Boolean (D, H, W), never empty.
    """

    name: str
    organ: str
    side: str
    size_mm: int
    mask: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeStudy:
    """One series of the synthetic CT of a patient's abdomen, and the facts about it.

    Attributes:
        number: Number of the patient among all, from 0.
        split: Split of the patient.
        plane: Plane of the slices; `oblique` only for what `oblique_series` returns.
        phase: When the contrast medium was seen.
        voxels: float32 (D, H, W) in Hounsfield units; rows run down the screen, columns to the right.
        spacing_mm: Voxel size along (D, H, W) in mm.
        organs: The organs that are seen, in the order of `ORGANS`.
        absent: Organs of `REMOVABLE` that the patient lacks or that left an oblique series, in alphabetical order.
        lesions: The lesions, the largest first.
        report: A report as a radiologist might write it; it also names findings that are absent.
    """

    number: int
    split: Split
    plane: Plane | Literal["oblique"]
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
    extents = {organ.name: _extent(organ.mask, plane, spacing) for organ in organs}
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
        report=_report(plane, phase, extents, absent, lesions, random),
    )


def oblique_series(study: VolumeStudy) -> VolumeStudy:
    """Return a second series of a patient: the slices of the first, every `SHEAR` of them moved down by a row more.

    Masks move with the voxels. Organs and lesions of which nothing is left in the volume are not part of it, and its
    report is about what remains: organs in numbers of slices and lesions by their width, since the rows of the volume
    no longer run along the patient.
    """
    organs = tuple(Organ(name=one.name, mask=mask) for one in study.organs if (mask := _sheared(one.mask, False)).any())
    seen = {organ.name for organ in organs}
    kept = [(one, mask) for one in study.lesions if (mask := _sheared(one.mask, False)).any()]
    across = [round(float(np.ptp(np.nonzero(mask)[2]) + 1) * study.spacing_mm[2]) for _, mask in kept]
    lesions = [replace(one, mask=mask, size_mm=size) for (one, mask), size in zip(kept, across, strict=True)]
    lesions.sort(key=lambda lesion: -lesion.size_mm)
    absent = frozenset(REMOVABLE) - seen
    extents = {organ.name: _extent(organ.mask, "oblique", study.spacing_mm) for organ in organs}
    random = np.random.default_rng([study.number, 12])
    return replace(
        study,
        plane="oblique",
        voxels=_sheared(study.voxels, AIR),
        organs=organs,
        absent=tuple(sorted(absent)),
        lesions=tuple(lesions),
        report=_report("oblique", study.phase, extents, absent, lesions, random),
    )


def _sheared(values: NDArray[Any], gap: float | bool) -> NDArray[Any]:
    """Return an array (D, H, W) with every `SHEAR` slices moved down by one row more; `gap` fills what is left."""
    result = np.full_like(values, gap)
    for place, pixels in enumerate(values):
        moved = (place - len(values) // 2) // SHEAR
        source, goal = (slice(max(0, -moved), None), slice(max(0, moved), len(pixels) + min(0, moved)))
        result[place, goal] = pixels[source][: goal.stop - goal.start]
    return result


def with_distinct_reports(studies: Sequence[VolumeStudy]) -> list[VolumeStudy]:
    """Return the studies in their order with reports of which no two are equal.

    A report that an earlier study has already goes on with the extent of one organ after another, in the order of
    `ORGANS`, until it is new. So the report of a study depends on itself and on those before it only.

    Raises:
        DataError: Two studies agree in everything that a report can say.
    """
    found: dict[str, VolumeStudy] = {}
    for study in studies:
        report = study.report
        # The lungs are left out because the sentence below is in the singular.
        others = iter([organ for organ in study.organs if organ.name not in (*HOSTS, "lungs")])
        while report in found:
            organ = next(others, None)
            if organ is None:
                raise DataError(
                    f"phantom patient {study.number}: expected a {study.plane} CT whose report no other volume of "
                    f"{study.split} has, found the same findings and extents of organs as those of patient "
                    f"{found[report].number}; choose another seed"
                )
            report += f" The {organ.name} {_extent(organ.mask, study.plane, study.spacing_mm)}."
        found[report] = replace(study, report=report)
    return list(found.values())


def _lesion(drawn: DrawnLesion) -> Lesion:
    return Lesion(
        name=drawn.kind,
        organ=drawn.organ,
        side="left" if drawn.centre[0] > 0 else "right",
        size_mm=round(2 * drawn.radius_mm),
        mask=drawn.mask,
    )


def _extent(mask: Bools, plane: str, spacing: Triple) -> str:
    """Return how far a mask, boolean (D, H, W), reaches, as the end of a sentence on what it shows."""
    if plane == "oblique":
        return f"is seen on {np.count_nonzero(mask.any(axis=(1, 2)))} slices"
    # Head to foot is the stack of an axial volume, and the rows of the others.
    axis = 0 if plane == "axial" else 1
    others = tuple(number for number in range(3) if number != axis)
    rows = np.flatnonzero(mask.any(axis=others))
    return f"measures {round(float(rows[-1] - rows[0] + 1) * spacing[axis])} mm from top to bottom"


def _report(
    plane: str,
    phase: Phase,
    extents: Mapping[str, str],
    absent: frozenset[str],
    lesions: Sequence[Lesion],
    random: Generator,
) -> str:
    """Return a report: how the scan was made, then the findings and absent findings, organ by organ.

    Args:
        extents: Organ that is seen -> how far it reaches, as `_extent` says it.
    """
    opening = (
        f"{plane.capitalize()} CT of the abdomen, {phase} phase.",
        f"CT of the abdomen in {plane} slices, {phase} phase.",
        f"{phase.capitalize()} phase CT of the abdomen, {plane} view.",
    )
    sentences = [opening[int(random.integers(len(opening)))]]
    sized = "a {0.name} {0.size_mm} mm wide" if plane == "oblique" else "a {0.size_mm} mm {0.name}"
    for organ in HOSTS:
        own = [sized.format(lesion) for lesion in lesions if lesion.organ == organ]
        sentences.append(_organ_sentence(organ, None if organ in absent else extents.get(organ), own, random))
    missing = "gallbladder" in absent
    if plane == "oblique":
        sentences.append(f"{'No' if missing else 'The'} gallbladder is seen.")
    else:
        sentences.append(f"The gallbladder {'has been removed' if missing else 'is in place, without stones'}.")
    if not lesions:
        sentences.append("No abnormal lesion is seen.")
    return " ".join(sentences)


def _organ_sentence(organ: str, extent: str | None, lesions: Sequence[str], random: Generator) -> str:
    """Return a sentence on an organ; `extent` is None if it is not seen, and `lesions` are named with their sizes."""
    if extent is None:
        return f"The {organ} is not seen."
    if not lesions:
        endings = ("and shows no focal lesion", "and is unremarkable", "without cyst or tumor")
    else:
        found = " and ".join(lesions)
        endings = (f"and contains {found}", f"with {found} inside", f"and shows {found}")
    return f"The {organ} {extent} {endings[int(random.integers(len(endings)))]}."
