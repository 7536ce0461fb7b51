"""Synthetic patients as an MMMU folder: five subjects, options in words and images, open questions, a key for test."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.patients.images import SPLITS, TURNS, Study
from harness.data.phantoms.patients.option_questions import MOST_COUNTED, option_questions
from harness.data.phantoms.writers.medical_vqa import draw_modalities, encoded, write_hub
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.vqa.mmmu import FOLDER, HEALTH, IMAGES, KEY_FILE, UNPUBLISHED
from harness.records import Json

# Subject -> code of the modality that its questions are about.
MODALITY_OF_SUBJECT: Mapping[str, str] = dict(zip(HEALTH, ("micro", "endo", "mr", "pet", "us"), strict=True))
# Split of a patient -> split of the questions about it.
DEALT: Mapping[str, str] = {"train": "dev", "validation": "validation", "test": "test"}
# Images of a subject in validation and in test; dev has one.
IMAGES_EACH = 3
DIFFICULTIES = ("Easy", "Medium", "Hard")

Record = dict[str, Json]


def write_mmmu(root: Path, seed: int) -> None:
    """Write `mmmu/` below `root`: a parquet file per subject and split, and the test answers beside them.

    The same seed gives the same bytes.
    """
    drawn = list(draw_modalities(seed, tuple(MODALITY_OF_SUBJECT.values()), _turns()))
    images = {found.number: encoded(image.pixels, "PNG") for image, found in drawn}
    key: dict[str, Json] = {}
    for split, name in DEALT.items():
        random = np.random.default_rng([seed, SPLITS.index(split), 15])
        own = [found for _, found in drawn if found.split == split]
        # (modality code, record); the three draw from one generator, so their order is part of the bytes.
        asked: list[tuple[str, Record]] = []
        for place, question in enumerate(option_questions(own, random)):
            text = f"<image 1> {question.text}" if place % 2 else f"{question.text}\n<image 1>"
            record = _lettered(text, question.options, question.letter, [question.study])
            asked.append((question.study.modality_phantom.code, record))
        asked += [*_pairs(own, random), *_open(own, random)]
        for subject, code in MODALITY_OF_SUBJECT.items():
            records = [record for modality, record in asked if modality == code]
            rows = [_row(record, f"{name}_{subject}_{place}", images) for place, record in enumerate(records, start=1)]
            if name == "test":
                # As in the release, a test question has `?` for its answer, and the answer is in the key file only.
                for row in rows:
                    key[str(row["id"])] = {"question_type": row["question_type"], "ground_truth": row["answer"]}
                    row["answer"] = UNPUBLISHED
            write_hub(root / FOLDER / subject / f"{name}-00000-of-00001.parquet", rows, images=IMAGES)
    write_json(root / KEY_FILE, key)


def _turns() -> list[int]:
    """Return the numbers of the patients of each modality: the first ones that fill every split."""
    wanted = {"train": 1, "validation": IMAGES_EACH, "test": IMAGES_EACH}
    turns: list[int] = []
    turn = 0
    while any(wanted.values()):
        split = TURNS[turn % len(TURNS)]
        if wanted[split]:
            wanted[split] -= 1
            turns.append(turn)
        turn += 1
    return turns


def _pairs(studies: Sequence[Study], random: Generator) -> Iterator[tuple[str, Record]]:
    """Yield (modality code, question which of several images shows the most lesions).

    The images themselves are the options, once by their marks and once in words; the place of the right one is drawn. A
    modality in which no image has the most alone is left out.
    """
    for code in MODALITY_OF_SUBJECT.values():
        own = [one for one in studies if one.modality_phantom.code == code]
        lesion = next(structure for structure in own[0].modality_phantom.structures if structure.role == "lesion")
        counts = {one.number: len(one.of(lesion)) for one in own}
        most = max(counts.values())
        if len(own) < 2 or list(counts.values()).count(most) > 1:
            continue
        shown = [own[int(pick)] for pick in random.permutation(len(own))]
        right = next(place for place, one in enumerate(shown) if counts[one.number] == most)
        marks = [f"<image {place}>" for place in range(1, len(shown) + 1)]
        yield code, _lettered(f"Which picture shows the most {lesion.plural}?", marks, "ABC"[right], shown)
        text = f"Of {', '.join(marks)}, which one shows the most {lesion.plural}?"
        words = ("the first", "the second", "the third")[: len(shown)]
        yield code, _lettered(text, words, "ABC"[right], shown)


def _open(studies: Sequence[Study], random: Generator) -> Iterator[tuple[str, Record]]:
    """Yield (modality code, open question): a number for one image of each modality, a name for another."""
    for code in MODALITY_OF_SUBJECT.values():
        own = [one for one in studies if one.modality_phantom.code == code]
        first, *others = [own[int(pick)] for pick in random.permutation(len(own))]
        lesion = next(structure for structure in first.modality_phantom.structures if structure.role == "lesion")
        count = len(first.of(lesion))
        if count <= MOST_COUNTED:
            yield code, _record(f"How many {lesion.plural} does <image 1> show?", str(count), [first])
        for one in others[:1]:
            accepted = [one.modality_phantom.modality, one.modality_phantom.aliases[0]]
            yield code, _record("By which technique was <image 1> made?", repr(accepted), [one])


def _lettered(text: str, options: Sequence[str], letter: str, shown: Sequence[Study]) -> Record:
    return _record(text, letter, shown) | {"options": repr(list(options)), "question_type": "multiple-choice"}


def _record(text: str, answer: str, shown: Sequence[Study]) -> Record:
    return {
        "question": text,
        "options": "[]",
        "answer": answer,
        "question_type": "open",
        "shown": [one.number for one in shown],
        "subfield": shown[0].modality_phantom.region.capitalize(),
    }


def _row(record: Record, source_id: str, images: Mapping[int, bytes]) -> Record:
    """Return a record as a row of the hub's table; `images` holds the PNG bytes of each image by its number."""
    held = [images[number] for number in record["shown"]]
    return {
        "id": source_id,
        **{name: record[name] for name in ("question", "options", "answer", "question_type", "subfield")},
        "explanation": "",
        "img_type": "['Body Scans: MRI, CT scans, and X-rays.']",
        "topic_difficulty": DIFFICULTIES[len(held) % len(DIFFICULTIES)],
        **{name: held[place] if place < len(held) else None for place, name in enumerate(IMAGES)},
    }
