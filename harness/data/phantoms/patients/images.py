"""Synthetic patients with images: the findings and the split of each patient, and the facts about each image."""

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
# Splits of the first, second, ... patient of a modality, over and over: half train, three in eight test. Any prefix is
# near these shares, so that few patients fill all splits too.
TURNS: tuple[Split, ...] = ("train", "test", "train", "validation", "test", "train", "train", "test")

# Lesions of an image: half of the images have none, and one, two and three are equally frequent.
LESIONS = (0, 1, 0, 2, 0, 3)

Card = TypeVar("Card")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomImage:
    """A phantom image with the masks of its parts.

    Attributes:
        modality_phantom: Its modality.
        patient: Number of its patient, from 0.
        index: Number of the image among its patient's, from 0.
        split: Split of its patient.
        pixels: uint8 (H, W), or (H, W, 3) in colour.
        masks: Boolean (H, W) masks of the instances of every structure, in the order of drawing; no mask is empty.
    """

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
        structure: The structure.
        mask: Path of its mask below the release's folder.
        area: Number of its pixels.
        across: Position of its centre: -1 at the left edge of the image, 1 at the right one.
    """

    structure: Structure
    mask: str
    area: int
    across: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The facts about an image, from which questions and answers are made.

    Attributes:
        modality_phantom: Its modality.
        split: Split of its patient.
        number: Number of the image among all images of the release.
        stem: Name of its files without suffix.
        pixels: Number of its pixels.
        parts: The instances that it shows, in the order of their class ids.
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
        """Structures in the image that a healthy patient would not have."""
        return tuple(
            structure
            for structure in self.modality_phantom.structures
            if structure.role != "organ" and not structure.normal and self.of(structure)
        )


def draw_patients(*, seed: int, patients: int, slices: int, workers: int = 1) -> Iterator[PhantomImage]:
    """Yield the images of every patient in turn.

    The modalities take turns over the patients. A patient's images depend on the seed, its number and `slices` only, so
    that more patients leave the first ones as they were.

    Args:
        seed: Random seed, at least 0; another seed gives other patients.
        patients: Number of patients, at least 0.
        slices: Images per patient, at least 0.
        workers: Processes that draw; the images and their order are the same whatever their number.
    """
    numbers = [patient for patient in range(patients) for _ in range(slices)]
    indices = list(range(slices)) * patients
    draw = partial(draw_image, seed=seed, slices=slices)
    if workers == 1:
        yield from map(draw, numbers, indices)
        return
    # Spawned, not forked: a fork would copy the locks of a caller's threads in whatever state they are.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(draw, numbers, indices, chunksize=8)


def draw_image(patient: int, index: int, *, seed: int, slices: int) -> PhantomImage:
    """Return one image of a patient.

    Args:
        patient: Number of the patient, from 0.
        index: Number of the image among the patient's, from 0 to `slices` - 1.
        seed: Random seed, at least 0.
        slices: Images per patient.
    """
    turn, modality_number = divmod(patient, len(MODALITY_PHANTOMS))
    phantom, split = MODALITY_PHANTOMS[modality_number], TURNS[turn % len(TURNS)]
    # Images of a native 2-D modality differ as patients do; slices of a volume share their patient.
    own = index if phantom.native_2d else 0
    earlier = turn // len(TURNS) * TURNS.count(split) + TURNS[: turn % len(TURNS)].count(split)
    hand = earlier * slices + index if phantom.native_2d else earlier
    # A hand is the place of the image, or of the volume, in its split. Each split has decks of its own, and lesions,
    # signs and sides are dealt from different ones, so that every value is as frequent and none goes with another.
    deck = [seed, modality_number, SPLITS.index(split)]
    case = PhantomCase(
        lesions=dealt(LESIONS, hand, [*deck, 0]),
        sign=dealt((False, True), hand, [*deck, 1]),
        side=dealt((-1, 1), hand, [*deck, 2]),
        lean=dealt((-1, 1), hand, [*deck, 3]),
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


def dealt(cards: Sequence[Card], hand: int, deck: Sequence[int]) -> Card:
    """Return the card of the `hand`-th player if the same cards are shuffled and dealt out again and again.

    In every len(cards) successive hands each card is dealt once.

    Args:
        cards: At least one.
        hand: Number of the player, from 0.
        deck: Seed of the shuffling.
    """
    # Each round is seeded by its number, so that a hand is known without dealing those before it.
    round_number, place = divmod(hand, len(cards))
    order = np.random.default_rng([*deck, round_number]).permutation(len(cards))
    return cards[int(order[place])]


def study(image: PhantomImage, number: int) -> Study:
    """Return the facts about an image, read off its masks; `number` is its number among all images of the release."""
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
