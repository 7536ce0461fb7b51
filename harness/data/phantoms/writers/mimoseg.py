"""Drawn patients as a MIMOSeg folder: questions from four perspectives, answered in words that are bound to masks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.drawing.canvas import Bools
from harness.data.phantoms.drawing.modality import Structure
from harness.data.phantoms.patients.images import SPLITS, PhantomImage, Split, draw_image
from harness.data.phantoms.patients.knowledge import KNOWLEDGE
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.mimoseg.reader import FOLDER, SUBSETS, file_of
from harness.data.releases.mimoseg.wording import OURS, chosen, listed, load_wording
from harness.records import Json

MODALITIES = ("ct", "us", "derm", "mr", "xray", "fundus", "endo", "pet")
"""The eight modalities that the paper names; of our looks OCT and microscopy are none of them."""
PATIENTS = 8
"""Patients of each look: four to train, three to test, one to validate."""
FOLDERS: Mapping[Split, str] = {"train": "train", "validation": "val", "test": "test"}

MOST_JITTER = 0.1
"""A box is up to this share of its width and height larger than what it is drawn around, on each side."""
INSIDE = 0.9
"""What has this share of its pixels in a box lies in it."""

PART_WORDINGS = ("Which part of this picture {clue}? Show it.", "Mark what {clue}, and tell me more about it.")
ANY_WORDINGS = ("Is there anything here that {clue}? If so, show it.", "Do you see something that {clue}? Mark it.")
ALL_WORDINGS = ("What is to be seen here, and what takes up most of the picture?", "Name the parts, the largest too.")
BOX_WORDINGS = ("What should I know about what lies inside <box>?", "Explain what <box> contains, and outline it.")
POINT_WORDINGS = ("What should I know about the part at <point>?", "Explain what I see at <point>, and outline it.")
NOTHING = ("No, there is nothing of the kind in this picture.", "Nothing in this picture does, so I marked nothing.")

Prompt = dict[str, Json]
Records = Iterator[dict[str, Json]]


@dataclass(frozen=True, slots=True)
class _NamedMasks:
    """A picture and all of each structure it shows, in the order of the class ids."""

    image: PhantomImage
    unions: Mapping[str, Bools]

    @property
    def names(self) -> list[str]:
        return list(self.unions)

    def has(self, structure: Structure) -> bool:
        return structure.name in self.unions

    def entities(self, names: Sequence[str]) -> list[Json]:
        return [{"name": name, "mask": self.mask(name)} for name in names]

    def mask(self, name: str) -> str:
        return f"masks/{self.image.stem}--{self.image.modality_phantom.class_id(name):04}.png"


def write_mimoseg(folder: Path, seed: int, *, patients: int = PATIENTS) -> None:
    """Write `MIMOSeg/` below `folder`; the same arguments give the same pictures and words.

    Args:
        folder: The data root; made where it is missing.
        seed: Draws another set of patients.
        patients: Of each look, one picture each.
    """
    images = [_named_masks(image) for image in _draw(seed, patients)]
    for name in ("images", "masks"):
        (folder / FOLDER / name).mkdir(parents=True, exist_ok=True)
    for shown in images:
        write_png(folder / FOLDER / f"images/{shown.image.stem}.png", shown.image.pixels)
        for name, union in shown.unions.items():
            write_png(folder / FOLDER / shown.mask(name), union.astype(np.uint8) * 255)
    for split in SPLITS:
        own = [shown for shown in images if shown.image.split == split]
        for number, (subset, ask) in enumerate(zip(SUBSETS, _PERSPECTIVES, strict=True)):
            records = ask(own, np.random.default_rng([seed, SPLITS.index(split), number]))
            numbered = [{"id": f"{place:05}"} | record for place, record in enumerate(records)]
            write_json(folder / file_of(FOLDERS[split], subset), numbered)


def _draw(seed: int, patients: int) -> Iterator[PhantomImage]:
    for turn in range(patients):
        for place, phantom in enumerate(MODALITY_PHANTOMS):
            if phantom.code in MODALITIES:
                yield draw_image(seed=seed, patient=turn * len(MODALITY_PHANTOMS) + place, index=0, slices=1)


def _named_masks(image: PhantomImage) -> _NamedMasks:
    named = ((structure.name, image.masks[structure.name]) for structure in image.modality_phantom.structures)
    return _NamedMasks(image, {name: np.any(masks, axis=0) for name, masks in named if masks})


def _instructed(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield requests that name one structure or all, and some that name what is not there."""
    words = load_wording(OURS)
    asked = [(shown, shown.names) for shown in images if len(shown.names) > 1]
    asked += [(shown, [_organ(shown, random)]) for shown in images]
    for shown, structure, present in _balanced(images, random):
        if present:
            asked.append((shown, [structure.name]))
        else:
            key = _key(random)
            instruction = words.instruction(SUBSETS[0], [structure.name], key)
            yield _record(shown, instruction, words.refusal(SUBSETS[0], structure.name, key), ())
    for shown, names in asked:
        key = _key(random)
        instruction, answer = words.instruction(SUBSETS[0], names, key), words.answer(SUBSETS[0], names, key)
        yield _record(shown, instruction, answer, names)


def _prompted(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield for every picture a box and a point, whose instruction names nothing."""
    words = load_wording(OURS)
    for shown in images:
        for kind, names, prompt in _prompts(shown, random):
            key, subset = _key(random), f"{SUBSETS[1]}_{kind}"
            instruction, answer = words.instruction(subset, names, key), words.answer(subset, names, key)
            yield _record(shown, instruction, answer, names, prompt)


def _explained(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield questions that say what a structure does in the place of its name."""
    for shown in images:
        yield _record(shown, chosen(ALL_WORDINGS, _key(random)), _overview(shown), shown.names)
        organ = _organ(shown, random)
        yield _record(shown, _clued(PART_WORDINGS, organ, random), f"That is {_statement(organ)}", [organ])
    for shown, structure, present in _balanced(images, random):
        name = structure.name
        instruction = _clued(ANY_WORDINGS, name, random)
        if present:
            yield _record(shown, instruction, f"Yes, {_statement(name)}", [name])
        else:
            yield _record(shown, instruction, chosen(NOTHING, _key(random)), ())


def _explained_here(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield for every picture a box and a point, and questions about what lies there."""
    for shown in images:
        for kind, names, prompt in _prompts(shown, random):
            instruction = chosen(BOX_WORDINGS if kind == "box" else POINT_WORDINGS, _key(random))
            answer = " ".join(f"Here is {_statement(name)}" for name in names)
            yield _record(shown, instruction, answer, names, prompt)


_PERSPECTIVES: Sequence[Callable[[Sequence[_NamedMasks], Generator], Records]] = (
    _instructed,
    _prompted,
    _explained,
    _explained_here,
)


def _record(
    shown: _NamedMasks, instruction: str | None, answer: str | None, names: Sequence[str], prompt: Prompt | None = None
) -> dict[str, Json]:
    record: dict[str, Json] = {
        "image": f"images/{shown.image.stem}.png",
        "instruction": instruction,
        "wording": OURS,
        "answer": answer,
        "entities": shown.entities(names),
    }
    return record if prompt is None else record | {"prompt": prompt}


def _key(random: Generator) -> str:
    return str(int(random.integers(2**40)))


def _organ(shown: _NamedMasks, random: Generator) -> str:
    """Return one of the structures that every picture of a look shows."""
    organs = [one.name for one in shown.image.modality_phantom.structures if one.role == "organ" and shown.has(one)]
    return organs[int(random.integers(len(organs)))]


def _balanced(images: Sequence[_NamedMasks], random: Generator) -> Iterator[tuple[_NamedMasks, Structure, bool]]:
    """Yield (picture, structure, whether it is there) of all that may be missing, as often there as not."""
    for phantom in MODALITY_PHANTOMS:
        own = [shown for shown in images if shown.image.modality_phantom is phantom]
        for structure in (one for one in phantom.structures if one.role != "organ"):
            there = [shown for shown in own if shown.has(structure)]
            missing = [shown for shown in own if not shown.has(structure)]
            for found in (there, missing):
                for pick in random.permutation(len(found))[: min(len(there), len(missing))]:
                    yield found[int(pick)], structure, found is there


def _prompts(shown: _NamedMasks, random: Generator) -> Iterator[tuple[str, list[str], Prompt]]:
    """Yield (`box` or `point`, what lies there, the prompt)."""
    names, boxed = shown.names, shown.names[int(random.integers(len(shown.names)))]
    box = _jittered_box(shown.unions[boxed], random)
    yield "box", _inside(shown, box), {"box": box}
    for pick in random.permutation(len(names)):
        name = names[int(pick)]
        others = [union for other, union in shown.unions.items() if other != name]
        alone = shown.unions[name] & ~np.any(others, axis=0) if others else shown.unions[name]
        pixels = np.argwhere(alone)
        if len(pixels):
            row, column = pixels[int(random.integers(len(pixels)))].tolist()
            yield "point", [name], {"points": [[column, row]], "labels": [1]}
            return


def _jittered_box(mask: Bools, random: Generator) -> list[int]:
    """Return x1 y1 x2 y2 around a mask, each side a little further out."""
    corners: list[tuple[int, int]] = []
    for axis in (0, 1):
        taken = np.flatnonzero(mask.any(axis=axis))
        start, end = int(taken[0]), int(taken[-1]) + 1
        most = int((end - start) * MOST_JITTER)
        low, high = (int(random.integers(most + 1)) for _ in range(2))
        corners.append((max(0, start - low), min(mask.shape[1 - axis], end + high)))
    (left, right), (top, bottom) = corners
    return [left, top, right, bottom]


def _inside(shown: _NamedMasks, box: Sequence[int]) -> list[str]:
    left, top, right, bottom = box
    shares = {name: union[top:bottom, left:right].sum() / union.sum() for name, union in shown.unions.items()}
    return [name for name, share in shares.items() if share >= INSIDE]


def _clued(wordings: Sequence[str], name: str, random: Generator) -> str:
    return chosen(wordings, _key(random)).format(clue=KNOWLEDGE[name].clue)


def _statement(name: str) -> str:
    return f"the {_tagged(name)}. It {KNOWLEDGE[name].fact}."


def _tagged(name: str) -> str:
    return f"<p>{name}<SEG></p>"


def _overview(shown: _NamedMasks) -> str:
    """Return what a picture shows, and the largest of it."""
    largest = max(shown.unions, key=lambda name: int(shown.unions[name].sum()))
    return f"I see the {listed(list(map(_tagged, shown.names)))}. Most of the picture is taken up by the {largest}."
