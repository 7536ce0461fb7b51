"""Synthetic patients as a VQA-RAD folder in the MEVF layout: closed and open questions in words."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.data.phantoms.patients.images import SPLITS, Split, Study
from harness.data.phantoms.patients.questions import Question, balanced_questions
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.samed2d import reader
from harness.data.releases.vqa.vqa_rad import FOLDER, IMAGES, MEVF_FILES
from harness.records import Json

# The release has no validation questions; ours are in a file of their own, which its reader ignores.
FILES: Mapping[Split, str] = {
    "train": MEVF_FILES["train"],
    "validation": f"{FOLDER}/validationset.json",
    "test": MEVF_FILES["test"],
}


def write_vqa_rad(folder: Path, studies: Sequence[Study], *, seed: int) -> None:
    """Write `vqa_rad/` below `folder`, whose `SAMed2Dv1/` holds the images.

    Args:
        folder: The data root.
        studies: Every image, in the order of their numbers.
        seed: Random seed of the questions, at least 0.
    """
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for study in studies:
        shutil.copyfile(folder / reader.FOLDER / f"images/{study.stem}.png", folder / IMAGES / _image_name(study))
    # Questions are numbered on across the splits, since the release's ids are unique in all its files.
    number = 0
    for split in SPLITS:
        # 2, and 3 to 6 in MeCoVQA, keep the draws of the two writers apart.
        random = np.random.default_rng([seed, SPLITS.index(split), 2])
        questions = balanced_questions([study for study in studies if study.split == split], random)
        records = [_record(question, number + place) for place, question in enumerate(questions, 1)]
        number += len(questions)
        write_json(folder / FILES[split], records)


def _image_name(study: Study) -> str:
    return f"synth{study.number:05}.png"


def _record(question: Question, number: int) -> dict[str, Json]:
    return {
        "qid": number,
        "image_name": _image_name(question.study),
        "image_organ": question.study.modality_phantom.organ,
        "answer": question.answer,
        "answer_type": "CLOSED" if question.topic.closed else "OPEN",
        "question_type": question.topic.type,
        "question": question.text,
        "phrase_type": "freeform",
    }
