"""Synthetic patients as an OmniMedVQA folder: multiple choice with two to four options, a JSON file per source.

Equally many records of a question have each answer, each answer stands at every letter equally often, and wrong options
are drawn from the right ones of other images: neither a letter nor the words of an option give the answer away.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import PhantomImage, Study, draw_image, study
from harness.data.phantoms.patients.questions import Question, QuestionType, balanced_questions
from harness.data.phantoms.writers.samed2d import write_json, write_png
from harness.data.releases.vqa.omnimedvqa import FOLDER, IMAGES, OPEN, OPTION_KEYS, RESTRICTED
from harness.records import Json

PATIENTS = 30
VIEWS = 2

# Modality code -> name in the release's open-access part, with its typing errors: `oct` lacks the closing bracket.
MODALITIES: Mapping[str, str] = {
    "ct": "CT(Computed Tomography)",
    "us": "ultrasound",
    "derm": "Dermoscopy",
    "mr": "MR (Mag-netic Resonance Imaging)",
    "xray": "X-Ray",
    "fundus": "Fundus Photography",
    "oct": "OCT (Optical Coherence Tomography",
    "micro": "Microscopy Images",
}
# Modalities whose images the release does not pass on: it lists their questions without images.
RESTRICTED_MODALITIES: Mapping[str, str] = {"endo": "Endoscopy"}

# Kind of question in VQA-RAD's words -> the release's `question_type`.
QUESTION_TYPES: Mapping[QuestionType, str] = {
    "MODALITY": "Modality Recognition",
    "ORGAN": "Anatomy Identification",
    "PRES": "Disease Diagnosis",
    "ABN": "Disease Diagnosis",
    "COUNT": "Lesion Grading",
    "POS": "Other Biological Attributes",
    "SIZE": "Other Biological Attributes",
}


def write_omnimedvqa(root: Path, seed: int, *, patients: int = PATIENTS) -> None:
    """Write `OmniMedVQA/` below `root`: questions of both parts, and the images of the open-access part.

    Args:
        root: The data root; made if it is missing.
        seed: Random seed, at least 0; the same arguments give the same bytes.
        patients: Number of patients; each modality has every tenth.
    """
    images = list(_images(seed, patients))
    for image in images:
        if image.modality_phantom.code in MODALITIES:
            path = root / FOLDER / _image(image.modality_phantom.source, image.stem)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, image.pixels)
    studies = [study(image, number) for number, image in enumerate(images)]
    parts = ((OPEN, MODALITIES), (RESTRICTED, RESTRICTED_MODALITIES))
    for number, (folder, modalities) in enumerate(parts):
        own = [one for one in studies if one.modality_phantom.code in modalities]
        _write_part(root / folder, own, modalities, np.random.default_rng([seed, number, 7]))


def _images(seed: int, patients: int) -> Iterator[PhantomImage]:
    drawn = {**MODALITIES, **RESTRICTED_MODALITIES}
    for patient in range(patients):
        if MODALITY_PHANTOMS[patient % len(MODALITY_PHANTOMS)].code in drawn:
            for index in range(VIEWS):
                yield draw_image(seed=seed, patient=patient, index=index, slices=VIEWS)


def _write_part(folder: Path, studies: Sequence[Study], modalities: Mapping[str, str], random: Generator) -> None:
    # On side and modality, questions answered by a side or a name are enough; yes and no would only repeat them.
    questions = [
        question
        for question in balanced_questions(studies, random)
        if question.topic.type not in ("POS", "MODALITY") or question.answer not in ("no", "yes")
    ]
    records: dict[str, list[dict[str, Json]]] = {one.modality_phantom.source: [] for one in studies}
    for question, options in with_options(questions, random):
        phantom = question.study.modality_phantom
        own = records[phantom.source]
        own.append(_record(question, options, len(own) + 1, modalities[phantom.code]))
    for source, found in records.items():
        write_json(folder / f"{source}.json", found)


def with_options(questions: Sequence[Question], random: Generator) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """Yield each question with its two to four options, topic by topic.

    Args:
        questions: Balanced questions.
        random: Draws the letter at which each topic begins, and the wrong options.
    """
    by_topic = sorted(questions, key=lambda question: (question.topic.key, question.answer))
    for _, topic in groupby(by_topic, key=lambda question: question.topic.key):
        asked = list(topic)
        # Regions of one organ, as eye and macula, would both be right, so neither is a wrong option beside the other.
        as_right: dict[str, set[str]] = {}
        if asked[0].topic.type == "ORGAN":
            regions = {question.answer: question.study.modality_phantom.organ for question in asked}
            as_right = {one: {other for other, organ in regions.items() if organ == regions[one]} for one in regions}
        known = sorted({question.answer for question in asked})
        start = int(random.integers(len(known)))
        for first, (answer, group) in enumerate(groupby(asked, key=lambda question: question.answer), start):
            others = [one for one in known if one != answer and one not in as_right.get(answer, ())]
            yield from _placed(group, answer, others, first, random)


def _placed(
    group: Iterable[Question], answer: str, others: Sequence[str], first: int, random: Generator
) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """Yield questions with one answer, the right option at each letter in turn, beginning with number `first`."""
    wrong = min(len(others), len(OPTION_KEYS) - 1)
    for number, question in enumerate(group, first):
        options = [others[int(pick)] for pick in random.permutation(len(others))[:wrong]]
        options.insert(number % (wrong + 1), answer)
        yield question, tuple(options)


def _record(question: Question, options: Sequence[str], number: int, modality: str) -> dict[str, Json]:
    phantom = question.study.modality_phantom
    return {
        "dataset": phantom.source,
        "question_id": f"{phantom.source}_{number:04}",
        "question_type": QUESTION_TYPES[question.topic.type],
        "question": question.text,
        "gt_answer": question.answer,
        "image_path": _image(phantom.source, question.study.stem),
        **dict(zip(OPTION_KEYS, options, strict=False)),
        "modality_type": modality,
    }


def _image(source: str, stem: str) -> str:
    return f"{IMAGES}/{source}/{stem}.png"
