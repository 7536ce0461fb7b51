"""Synthetic patients as a MIMOSeg folder: questions from four perspectives, answers whose words are tied to masks."""

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

# The eight modalities that the paper names; OCT and microscopy are not among them.
MODALITIES = ("ct", "us", "derm", "mr", "xray", "fundus", "endo", "pet")
# Patients of each modality: four to train, three to test, one to validate.
PATIENTS = 8
FOLDERS: Mapping[Split, str] = {"train": "train", "validation": "val", "test": "test"}

# A box is larger than its structure by up to this share of the structure's width and height, on each side.
MOST_JITTER = 0.1
# A structure counts as inside a box from this share of its pixels on.
INSIDE = 0.9

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
    """An image and the union of all instances of each structure, boolean (H, W), in the order of the class ids."""

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
    """Write `MIMOSeg/` below `folder`; the same arguments give the same bytes.

    Args:
        folder: The data root; made if it is missing.
        seed: Random seed, at least 0.
        patients: Number of patients of each modality, with one image each.
    """
    images = list(_draw(seed, patients))
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


def _draw(seed: int, patients: int) -> Iterator[_NamedMasks]:
    for turn in range(patients):
        for place, phantom in enumerate(MODALITY_PHANTOMS):
            if phantom.code in MODALITIES:
                image = draw_image(seed=seed, patient=turn * len(MODALITY_PHANTOMS) + place, index=0, slices=1)
                named = ((structure.name, image.masks[structure.name]) for structure in phantom.structures)
                yield _NamedMasks(image, {name: np.any(masks, axis=0) for name, masks in named if masks})


def _instructed(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield requests that name one structure or all, and some that name an absent structure."""
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
    """Yield a box and a point in every image, with instructions that name nothing."""
    words = load_wording(OURS)
    for shown in images:
        for kind, names, prompt in _prompts(shown, random):
            key, subset = _key(random), f"{SUBSETS[1]}_{kind}"
            instruction, answer = words.instruction(subset, names, key), words.answer(subset, names, key)
            yield _record(shown, instruction, answer, names, prompt)


def _explained(images: Sequence[_NamedMasks], random: Generator) -> Records:
    """Yield questions that describe a structure by its function in place of its name."""
    for shown in images:
        largest = max(shown.unions, key=lambda name: int(shown.unions[name].sum()))
        names = listed(list(map(_tagged, shown.names)))
        overview = f"I see the {names}. Most of the picture is taken up by the {largest}."
        yield _record(shown, chosen(ALL_WORDINGS, _key(random)), overview, shown.names)
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
    """Yield a box and a point in every image, with questions about the structures there."""
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
    """Return a key from which `chosen` and the wording pick one of several phrasings."""
    return str(int(random.integers(2**40)))


def _organ(shown: _NamedMasks, random: Generator) -> str:
    """Return the name of one of the organs in an image, drawn at random."""
    organs = [one.name for one in shown.image.modality_phantom.structures if one.role == "organ" and shown.has(one)]
    return organs[int(random.integers(len(organs)))]


def _balanced(images: Sequence[_NamedMasks], random: Generator) -> Iterator[tuple[_NamedMasks, Structure, bool]]:
    """Yield (image, structure, whether it is there) for all structures that may be absent, equally often each way."""
    for phantom in MODALITY_PHANTOMS:
        own = [shown for shown in images if shown.image.modality_phantom is phantom]
        for structure in (one for one in phantom.structures if one.role != "organ"):
            there = [shown for shown in own if shown.has(structure)]
            missing = [shown for shown in own if not shown.has(structure)]
            for found in (there, missing):
                for pick in random.permutation(len(found))[: min(len(there), len(missing))]:
                    yield found[int(pick)], structure, found is there


def _prompts(shown: _NamedMasks, random: Generator) -> Iterator[tuple[str, list[str], Prompt]]:
    """Yield (`box` or `point`, names of the structures there, the prompt)."""
    names, boxed = shown.names, shown.names[int(random.integers(len(shown.names)))]
    left, top, right, bottom = box = _jittered_box(shown.unions[boxed], random)
    shares = {name: union[top:bottom, left:right].sum() / union.sum() for name, union in shown.unions.items()}
    yield "box", [name for name, share in shares.items() if share >= INSIDE], {"box": box}
    # A point on two structures would have two right answers, so it is on one alone.
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
    """Return x1 y1 x2 y2 around a mask, boolean (H, W), each side moved outwards at random; the ends are exclusive."""
    corners: list[tuple[int, int]] = []
    for axis in (0, 1):
        taken = np.flatnonzero(mask.any(axis=axis))
        start, end = int(taken[0]), int(taken[-1]) + 1
        most = int((end - start) * MOST_JITTER)
        low, high = (int(random.integers(most + 1)) for _ in range(2))
        corners.append((max(0, start - low), min(mask.shape[1 - axis], end + high)))
    (left, right), (top, bottom) = corners
    return [left, top, right, bottom]


def _clued(wordings: Sequence[str], name: str, random: Generator) -> str:
    return chosen(wordings, _key(random)).format(clue=KNOWLEDGE[name].clue)


def _statement(name: str) -> str:
    return f"the {_tagged(name)}. It {KNOWLEDGE[name].fact}."


def _tagged(name: str) -> str:
    return f"<p>{name}<SEG></p>"
