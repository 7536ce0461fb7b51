"""Patients in the making: who has what, in which split, and what is then true of every picture."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.drawing.modality import ModalityPhantom, PhantomCase, Structure

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
TURNS: tuple[Split, ...] = ("train", "test", "train", "validation", "test", "train", "train", "test")
"""Splits of the first, second, ... patient of a look, over and over: half train, three in eight test."""

LESIONS = (0, 1, 0, 2, 0, 3)
"""Lesions of a picture: half of the pictures have none, and one, two and three are equally frequent."""

Card = TypeVar("Card")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomImage:
    """A drawn image with the masks of its parts, per structure in the order of drawing; no mask is empty."""

    modality_phantom: ModalityPhantom
    patient: int
    index: int
    split: Split
    pixels: NDArray[np.uint8]
    masks: dict[str, tuple[Bools, ...]]

    @property
    def stem(self) -> str:
        """Name of its files without suffix."""
        return self.modality_phantom.stem(self.patient, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomPart:
    """One instance of a structure.

    Attributes:
        structure: What it is.
        mask: Path of its mask below the release's folder.
        area: Pixels.
        across: Where its centre lies: -1 at the left edge of the picture, 1 at the right one.
    """

    structure: Structure
    mask: str
    area: int
    across: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is true of a picture: all that questions and answers are made of.

    Attributes:
        look: Its modality.
        split: Split of its patient.
        number: Of the picture among all.
        stem: Name of its files without suffix.
        pixels: How many it has.
        parts: What it shows, in the order of the class ids.
    """

    modality_phantom: ModalityPhantom
    split: Split
    number: int
    stem: str
    pixels: int
    parts: tuple[PhantomPart, ...]

    def of(self, structure: Structure) -> tuple[PhantomPart, ...]:
        """Return the instances of a structure."""
        return tuple(part for part in self.parts if part.structure == structure)

    @property
    def abnormal(self) -> tuple[Structure, ...]:
        """Structures in the picture that a healthy patient would not have."""
        return tuple(
            structure
            for structure in self.modality_phantom.structures
            if structure.role != "organ" and not structure.normal and self.of(structure)
        )


def draw_patients(*, seed: int, patients: int, slices: int, workers: int = 1) -> Iterator[PhantomImage]:
    """Yield the pictures of every patient in turn.

    The looks take turns over the patients. A patient's pictures depend on the seed, its number and `slices` only.

    Args:
        seed: Draws another set of patients.
        patients: Number of patients, at least 0.
        slices: Pictures per patient, at least 0.
        workers: Processes that draw; the pictures are the same whatever their number.
    """
    places = [(patient, index) for patient in range(patients) for index in range(slices)]
    draw = partial(_draw_place, seed=seed, slices=slices)
    if workers == 1:
        yield from map(draw, places)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, places, chunksize=8)


def _draw_place(place: tuple[int, int], *, seed: int, slices: int) -> PhantomImage:
    return draw_image(seed=seed, patient=place[0], index=place[1], slices=slices)


def draw_image(*, seed: int, patient: int, index: int, slices: int) -> PhantomImage:
    """Return one picture of a patient."""
    turn, modality_number = divmod(patient, len(MODALITY_PHANTOMS))
    phantom, split = MODALITY_PHANTOMS[modality_number], TURNS[turn % len(TURNS)]
    # Views of a native 2-D look differ as patients do; slices of a volume share their patient.
    own = index if phantom.native_2d else 0
    earlier = turn // len(TURNS) * TURNS.count(split) + TURNS[: turn % len(TURNS)].count(split)
    hand = earlier * slices + index if phantom.native_2d else earlier
    deck = [seed, modality_number, SPLITS.index(split)]
    case = PhantomCase(
        lesions=_card(LESIONS, hand, [*deck, 0]),
        sign=_card((False, True), hand, [*deck, 1]),
        side=_card((-1, 1), hand, [*deck, 2]),
        lean=_card((-1, 1), hand, [*deck, 3]),
        position=(2 * index + 1) / slices - 1,
        anatomy=np.random.default_rng([seed, patient, own]),
        grain=np.random.default_rng([seed, patient, index, 1]),
    )
    canvas = phantom.draw(case)
    named = ((structure.name, canvas.masks.get(structure.name, [])) for structure in phantom.structures)
    masks = {name: tuple(mask for mask in found if mask.any()) for name, found in named}
    return PhantomImage(
        modality_phantom=phantom, patient=patient, index=index, split=split, pixels=canvas.finished(), masks=masks
    )


def _card(cards: Sequence[Card], hand: int, deck: Sequence[int]) -> Card:
    """Return what the `hand`-th player is dealt when the same cards are shuffled and dealt out again and again."""
    round_number, place = divmod(hand, len(cards))
    order = np.random.default_rng([*deck, round_number]).permutation(len(cards))
    return cards[int(order[place])]


def study(image: PhantomImage, number: int) -> Study:
    """Return what is true of a picture, read off its masks."""
    parts = []
    for structure in image.modality_phantom.structures:
        class_id = image.modality_phantom.class_id(structure.name)
        for instance, mask in enumerate(image.masks[structure.name]):
            columns = mask.sum(axis=0)
            centre = float((columns * (np.arange(columns.size) + 0.5)).sum() / columns.sum())
            parts.append(
                PhantomPart(
                    structure=structure,
                    mask=f"masks/{image.stem}--{class_id:04}_{instance:03}.png",
                    area=int(columns.sum()),
                    across=2 * centre / columns.size - 1,
                )
            )
    return Study(
        modality_phantom=image.modality_phantom,
        split=image.split,
        number=number,
        stem=image.stem,
        pixels=image.pixels.shape[0] * image.pixels.shape[1],
        parts=tuple(parts),
    )
