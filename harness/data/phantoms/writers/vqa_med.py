"""Synthetic patients as VQA-Med folders of 2019 and 2021, in the text files of their releases and in our own words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.data.phantoms.patients.images import SPLITS, TURNS, Study
from harness.data.phantoms.patients.questions import Question, QuestionType, balanced_questions
from harness.data.phantoms.writers.medical_vqa import draw_modalities, encoded
from harness.data.releases.vqa.vqa_med import PARTS_2019, PARTS_2021, SEPARATOR, Part

MODALITIES = ("ct", "mr", "xray", "us")
# Kind of question in VQA-RAD's words -> category of 2019. Synthetic images have no planes to ask about.
CATEGORIES: Mapping[QuestionType, str] = {
    "MODALITY": "modality",
    "ORGAN": "organ",
    "ABN": "abnormality",
    "PRES": "abnormality",
}
ABNORMALITY: tuple[QuestionType, ...] = ("ABN", "PRES")  # what all questions of 2021 are about


def write_vqa_med_2019(root: Path, seed: int) -> None:
    """Write `vqa_med_2019/` below `root`: questions by category; the same seed gives the same bytes."""
    _write(root / "vqa_med_2019", seed, PARTS_2019, tuple(CATEGORIES), 16)


def write_vqa_med_2021(root: Path, seed: int) -> None:
    """Write `vqa_med_2021/` below `root`: a question about abnormalities an image; the same seed gives the same bytes.

    As in the release, the training set is in two folders, and the answers of the test set are in a file of their own.
    """
    _write(root / "vqa_med_2021", seed, PARTS_2021, ABNORMALITY, 17)


def _write(
    folder: Path, seed: int, parts: Mapping[str, Sequence[Part]], kinds: Sequence[QuestionType], stream: int
) -> None:
    drawn = list(draw_modalities(seed, MODALITIES, range(len(TURNS)), slices=2))
    images = {found.number: encoded(image.pixels) for image, found in drawn}
    for split in SPLITS:
        random = np.random.default_rng([seed, SPLITS.index(split), stream])
        asked = balanced_questions([found for _, found in drawn if found.split == split], random)
        asked = [question for question in asked if question.topic.type in kinds]
        if parts is PARTS_2021:  # its reference answers are listed by image
            order = random.permutation(len(asked))
            asked = list({asked[int(pick)].study.number: asked[int(pick)] for pick in order}.values())
        for index, part in enumerate(parts[split]):
            _write_part(folder / f"{split}{index}", part, asked[index :: len(parts[split])], images)


def _write_part(folder: Path, part: Part, asked: Sequence[Question], images: Mapping[int, bytes]) -> None:
    files: dict[str, list[str]] = {name: [] for name in (part.questions, part.answers, *part.categories) if name}
    for question in asked:
        cells = {
            "image": _image_name(question.study),
            "category": CATEGORIES[question.topic.type],
            "question": question.text.lower(),
            "answer": question.answer,
        }
        (folder / part.images).mkdir(parents=True, exist_ok=True)
        (folder / part.images / f"{cells['image']}.jpg").write_bytes(images[question.study.number])
        line = SEPARATOR.join(cells[column] for column in part.columns)
        files[part.questions].append(line)
        if part.answers:
            files[part.answers].append(SEPARATOR.join((cells["image"], cells["answer"])))
        for name, category in part.categories.items():
            if category == cells["category"]:
                files[name].append(line)
    for name, own in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("".join(f"{line}\n" for line in own), encoding="utf-8")


def _image_name(found: Study) -> str:
    return f"synpic9{found.number:04}"
