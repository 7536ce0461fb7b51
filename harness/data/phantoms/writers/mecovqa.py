"""Synthetic patients as a MeCoVQA folder: complex, region and grounding questions on the SA-Med2D images beside it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.patients.images import SPLITS, PhantomPart, Study
from harness.data.phantoms.patients.questions import OFF_CENTRE, balanced_questions
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.samed2d.mecovqa import FILES, FOLDER
from harness.records import Json

# Modality code -> file of zero-shot grounding. As in the release, other modalities train and test grounding.
UNSEEN: Mapping[str, str] = {
    "endo": "endoscopy",
    "fundus": "fundus",
    "mr": "mr",
    "pet": "pet",
    "us": "ultrasound",
    "xray": "xray",
}

COMPLEX_WORDINGS = (
    "What does this image show, and is anything abnormal?",
    "Give your reading of the whole image.",
    "Summarise the findings in this image.",
    "What would a short report on this image say?",
)
NAME_WORDINGS = (
    "Which structure does {region} mark?",
    "What is inside {region}?",
    "Name what {region} encloses.",
    "What have I outlined with {region}?",
)
DESCRIPTION_WORDINGS = (
    "Tell me what {region} contains and where it lies.",
    "Characterise the area within {region}.",
    "How would you describe {region}?",
)
GROUNDING_WORDINGS = (
    "Please segment the {name}.",
    "Mark every pixel of the {name} with a mask.",
    "Where exactly is the {name}? Answer with a mask.",
    "Draw a mask over the {name} in this picture.",
    "I need the {name} segmented.",
)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")

Ask = Callable[[Sequence[Study], Generator], Iterator[dict[str, Json]]]


def write_mecovqa(folder: Path, studies: Sequence[Study], *, seed: int) -> None:
    """Write `MeCoVQA/` below `folder`, whose `SAMed2Dv1/` holds the images.

    As in the release, the merged masks that grounding answers name are not written; preparation builds them.

    Args:
        folder: The data root.
        studies: Every image.
        seed: Random seed of the questions, at least 0.
    """
    for split in SPLITS:
        own = [study for study in studies if study.split == split]
        for number, (subset, ask) in enumerate(_SUBSETS.items()):
            random = np.random.default_rng([seed, SPLITS.index(split), 3 + number])
            asked = [study for study in own if subset != "grounding" or study.modality_phantom.code not in UNSEEN]
            # The release has no validation questions; ours have a folder of their own, which its reader ignores.
            validation = f"{FOLDER}/validation/MeCoVQA-{subset.capitalize()}.json"
            file = validation if split == "validation" else FILES[split, subset][0]
            write_json(folder / file, list(ask(asked, random)))
    for number, (code, name) in enumerate(UNSEEN.items()):
        unseen = [study for study in studies if study.split == "test" and study.modality_phantom.code == code]
        records = list(_grounding(unseen, np.random.default_rng([seed, number, 6])))
        write_json(folder / FOLDER / f"zeroshot4grounding/{name}.json", records)


def _complex(studies: Sequence[Study], random: Generator) -> Iterator[dict[str, Json]]:
    """Yield a report on every image, and the number of its lesions as a question by itself."""
    first = int(random.integers(len(COMPLEX_WORDINGS)))
    for number, study in enumerate(studies, first):
        yield _record(study, COMPLEX_WORDINGS[number % len(COMPLEX_WORDINGS)], report(study))
    for question in balanced_questions(studies, random):
        if question.topic.type == "COUNT" and not question.topic.closed:
            yield _record(question.study, question.text, question.answer)


def _region(studies: Sequence[Study], random: Generator) -> Iterator[dict[str, Json]]:
    """Yield a question about one instance of every structure: its name, or its name, size and place."""
    for study in studies:
        for structure in study.modality_phantom.structures:
            parts = study.of(structure)
            if not parts:
                continue
            part = parts[int(random.integers(len(parts)))]
            named = random.random() < 0.5
            wordings = NAME_WORDINGS if named else DESCRIPTION_WORDINGS
            text = wordings[int(random.integers(len(wordings)))].format(region=f"<region>{part.mask}</region>")
            yield _record(study, text, structure.name if named else _description(study, part))


def _grounding(studies: Sequence[Study], random: Generator) -> Iterator[dict[str, Json]]:
    """Yield a request for the mask of every structure in every image, all instances in one mask."""
    for study in studies:
        for structure in study.modality_phantom.structures:
            if study.of(structure):
                text = GROUNDING_WORDINGS[int(random.integers(len(GROUNDING_WORDINGS)))].format(name=structure.name)
                merged = f"masks_merged/{study.stem}--{study.modality_phantom.class_id(structure.name):04}_merged.png"
                yield _record(study, text, f"<SEG><mask>{merged}</mask>")


_SUBSETS: Mapping[str, Ask] = {"complex": _complex, "region": _region, "grounding": _grounding}


def _record(study: Study, question: str, answer: str) -> dict[str, Json]:
    return {
        "id": study.stem,
        "image": f"images/{study.stem}.png",
        "conversations": [
            {"from": "human", "value": f"<image>\n{question}"},
            {"from": "gpt", "value": answer},
        ],
    }


def report(study: Study) -> str:
    """Return a report: the view, then each possible finding, present or absent, then a verdict."""
    sentences = [f"{study.modality_phantom.view}."]
    for structure in study.modality_phantom.structures:
        if structure.role != "organ":
            parts = study.of(structure)
            if not parts:
                sentences.append(f"There is no {structure.name}.")
            elif len(parts) > 1:
                sentences.append(f"There are {NUMBERS[len(parts)]} {structure.plural}.")
            else:
                sentences.append(f"There is {structure.with_article} {_place(parts[0])}.")
    sentences.append("The image is abnormal." if study.abnormal else "Nothing abnormal is seen.")
    return " ".join(sentences)


def _description(study: Study, part: PhantomPart) -> str:
    name = part.structure.with_article
    # In percent; the bounds are those of the stratum `target_size`, so that words and strata agree.
    share = part.area * 100 / study.pixels
    extent = "small" if share < 1 else "medium-sized" if share <= 10 else "large"
    return f"{name[0].upper()}{name[1:]}, {extent}, {_place(part)}."


def _place(part: PhantomPart) -> str:
    if abs(part.across) <= OFF_CENTRE:
        return "near the middle of the image"
    return f"on the {'right' if part.across > 0 else 'left'} side of the image"
