"""Synthetic patients as SLAKE, PathVQA and PMC-VQA folders, each in its release's own layout and in our own words."""

import csv
import io
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import SPLITS, TURNS, PhantomImage, Split, Study, draw_image, study
from harness.data.phantoms.patients.option_questions import OptionQuestion, option_questions
from harness.data.phantoms.patients.questions import YES_NO, Question, QuestionType, balanced_questions
from harness.data.phantoms.writers.samed2d import write_json
from harness.data.releases.vqa import pathvqa, pmc_vqa, slake
from harness.records import Json

# Modality code -> name that SLAKE writes; it has these three modalities.
SLAKE_MODALITIES: Mapping[str, str] = {"ct": "CT", "mr": "MRI", "xray": "X-Ray"}
SLAKE_LOCATIONS: Mapping[str, str] = {"ct": "Abdomen", "mr": "Brain", "xray": "Lung"}
SLAKE_FILES: Mapping[Split, str] = {split: slake.FILES[split][0] for split in SPLITS}
# Kind of question in VQA-RAD's words -> SLAKE's `content_type`.
CONTENT: Mapping[QuestionType, str] = {
    "PRES": "Abnormality",
    "ABN": "Abnormality",
    "POS": "Position",
    "SIZE": "Size",
    "COUNT": "Quantity",
    "MODALITY": "Modality",
    "ORGAN": "Organ",
}
CHINESE_MODALITIES: Mapping[str, str] = {"ct": "CT", "mr": "核磁共振", "xray": "X光"}

PATHVQA_MODALITIES = ("micro",)
# Questions that the authors' PathVQA has twice and the hub's has once.
REPEATED = 2

PMC_VQA_MODALITIES = ("us", "mr", "xray", "endo", "oct", "pet")


def draw_modalities(
    seed: int, codes: Sequence[str], turns: Sequence[int], *, slices: int = 1
) -> Iterator[tuple[PhantomImage, Study]]:
    """Yield the images of some modalities, each with its study; studies are numbered from 0.

    Args:
        seed: Random seed, at least 0.
        codes: Codes of the modalities.
        turns: Numbers of the patients of each modality; `images.TURNS` has the split of each.
        slices: Images per patient.
    """
    patients = [
        turn * len(MODALITY_PHANTOMS) + place
        for turn in turns
        for place, phantom in enumerate(MODALITY_PHANTOMS)
        if phantom.code in codes
    ]
    places = [(patient, index) for patient in patients for index in range(slices)]
    for number, (patient, index) in enumerate(places):
        image = draw_image(seed=seed, patient=patient, index=index, slices=slices)
        yield image, study(image, number)


def encoded(pixels: NDArray[np.uint8], kind: str = "JPEG") -> bytes:
    """Return the bytes of a JPEG or PNG file of uint8 pixels, (H, W) or (H, W, 3)."""
    buffer = io.BytesIO()
    options = {"quality": 92} if kind == "JPEG" else {"compress_level": 3}
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_slake(root: Path, seed: int) -> None:
    """Write `slake/` below `root`: three modalities, questions in English and Chinese.

    The same seed gives the same bytes.
    """
    studies = []
    for image, found in draw_modalities(seed, tuple(SLAKE_MODALITIES), range(len(TURNS) + 2)):
        studies.append(found)
        path = root / slake.IMAGES / _slake_image(found)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(image.pixels))
    number = 0
    for split in SPLITS:
        random = np.random.default_rng([seed, SPLITS.index(split), 11])
        own = [one for one in studies if one.split == split]
        asked = [_english(question) for question in balanced_questions(own, random)] + list(_chinese(own, random))
        records = [record | {"qid": number + place} for place, record in enumerate(asked)]
        number += len(records)
        write_json(root / SLAKE_FILES[split], records)


def _slake_image(found: Study) -> str:
    return f"xmlab{found.number}/source.jpg"


def _slake_record(found: Study, **own: Json) -> dict[str, Json]:
    code = found.modality_phantom.code
    return {
        "img_id": found.number,
        "img_name": _slake_image(found),
        "location": SLAKE_LOCATIONS[code],
        "modality": SLAKE_MODALITIES[code],
        "base_type": "vqa",
        "triple": ["vhead", "_", "_"],
        **own,
    }


def _english(question: Question) -> dict[str, Json]:
    answer = question.answer.capitalize() if question.topic.closed else question.answer
    return _slake_record(
        question.study,
        question=question.text,
        answer=answer,
        q_lang="en",
        answer_type="CLOSED" if question.topic.closed else "OPEN",
        content_type=CONTENT[question.topic.type],
    )


def _chinese(studies: Sequence[Study], random: Generator) -> Iterator[dict[str, Json]]:
    """Yield questions in Chinese on modality, openly and closed, and on whether anything is abnormal."""
    codes = list(SLAKE_MODALITIES)
    # Every second closed question is right; which half begins is drawn.
    turn = int(random.integers(2))
    for place, found in enumerate(studies):
        code = found.modality_phantom.code
        open_question = ("这张图像是用什么方式拍摄的?", "请说出成像方式。")[place % 2]
        yield _asked_in_chinese(found, open_question, CHINESE_MODALITIES[code], "OPEN", "Modality")
        is_right = (place + turn) % 2 == 0
        others = [other for other in codes if other != code]
        asked = code if is_right else others[int(random.integers(len(others)))]
        closed = f"这是{CHINESE_MODALITIES[asked]}图像吗?"
        yield _asked_in_chinese(found, closed, "是" if is_right else "否", "CLOSED", "Modality")
    for found in _halves(studies, random):
        answer = "是" if found.abnormal else "否"
        yield _asked_in_chinese(found, "图中有异常吗?", answer, "CLOSED", "Abnormality")


def _halves(studies: Sequence[Study], random: Generator) -> Iterator[Study]:
    """Yield equally many images with and without an abnormality."""
    ill = [one for one in studies if one.abnormal]
    well = [one for one in studies if not one.abnormal]
    rounds = min(len(ill), len(well))
    for group in (ill, well):
        yield from (group[int(pick)] for pick in random.permutation(len(group))[:rounds])


def _asked_in_chinese(found: Study, question: str, answer: str, answer_type: str, content: str) -> dict[str, Json]:
    return _slake_record(
        found, question=question, answer=answer, q_lang="zh", answer_type=answer_type, content_type=content
    )


def write_pathvqa(root: Path, seed: int) -> None:
    """Write `pathvqa/` below `root`: microscopy in the hub's layout and in the authors', which repeats questions.

    The same seed gives the same bytes.
    """
    drawn = list(draw_modalities(seed, PATHVQA_MODALITIES, range(len(TURNS)), slices=2))
    images = {found.number: encoded(image.pixels) for image, found in drawn}
    for split in SPLITS:
        random = np.random.default_rng([seed, SPLITS.index(split), 12])
        questions = balanced_questions([found for _, found in drawn if found.split == split], random)
        rows = [{"image": images[one.study.number], "question": one.text, "answer": one.answer} for one in questions]
        write_hub(root / pathvqa.HUB_FOLDER / f"{split}-00000-of-00001.parquet", rows, images=("image",))
        _write_authors(root / pathvqa.FOLDER, split, questions, images)


def _write_authors(folder: Path, split: Split, questions: Sequence[Question], images: Mapping[int, bytes]) -> None:
    name = pathvqa.AUTHORS_SPLITS[split]
    # The answers of repeated questions take turns, no, yes, no, ..., so that repeating favours neither.
    by_answer = [[one for one in questions if one.answer == answer] for answer in YES_NO]
    closed = [one for pair in zip(*by_answer, strict=False) for one in pair]
    records = []
    for question in [*questions, *closed[:REPEATED]]:
        stem = f"{name}_{question.study.number:04}"
        records.append({"image": stem, "question": question.text, "answer": question.answer})
        path = folder / "images" / name / f"{stem}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(images[question.study.number])
    path = folder / "qas" / name / f"{name}_qa.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(records, protocol=4))


def write_hub(path: Path, rows: Sequence[Mapping[str, Json]], *, images: Sequence[str]) -> None:
    """Write a parquet file as the Hugging Face hub stores data sets: an image is a struct of its file's bytes and name.

    Args:
        path: The file; its folder is made if it is missing.
        rows: At least one row; an image is bytes, or None.
        images: Names of the columns that hold images; all others hold text.
    """
    # Imported here, since pyarrow is heavy and only these layouts need it.
    import pyarrow
    from pyarrow import parquet

    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    columns = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in images:
            structs = [None if value is None else {"bytes": value, "path": None} for value in values]
            columns[name] = pyarrow.array(structs, kind)
        else:
            columns[name] = pyarrow.array(values, pyarrow.string())
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table(columns), path)


def write_pmc_vqa(root: Path, seed: int) -> None:
    """Write `pmc_vqa/` below `root`: both versions, the first with a part that is checked by hand.

    Images are in `images/` and in `figures/`, the folders of the two versions. The same seed gives the same bytes.
    """
    turns = [turn for turn, split in enumerate(TURNS) if split != "validation"]
    studies = []
    for image, found in draw_modalities(seed, PMC_VQA_MODALITIES, turns):
        studies.append(found)
        for folder in ("images", "figures"):
            path = root / pmc_vqa.FOLDER / folder / _figure(found)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encoded(image.pixels))
    for version in pmc_vqa.SUBSETS:
        for split in ("train", "test"):
            random = np.random.default_rng([seed, SPLITS.index(split), 13 + pmc_vqa.SUBSETS.index(version)])
            asked = option_questions([one for one in studies if one.split == split], random)
            rows = [_figure_row(question, version, place, split) for place, question in enumerate(asked)]
            write_csv(root / pmc_vqa.FILES[version, split], rows)
            if (version, split) == ("v1", "test"):
                write_csv(root / pmc_vqa.FILES["v1", "test_clean"], rows[::2])


def _figure(found: Study) -> str:
    return f"PMC90{found.number:05}_Fig1_{found.number % 7}.jpg"


def _figure_row(question: OptionQuestion, version: str, place: int, split: str) -> dict[str, str]:
    """Return a row as its version writes it: only the first puts letters before options and spells the answer out."""
    plain = dict(zip(pmc_vqa.OPTIONS, question.options, strict=True))
    if version == "v2":
        caption = f"{question.study.modality_phantom.view} (Figure {place + 1})."
        head = {"index": str(place), "Figure_path": _figure(question.study), "Caption": caption}
        return {**head, "Question": question.text, **plain, "Answer": question.letter, "split": split}
    marked = {name: f" {name[-1]}:{text} " for name, text in plain.items()}
    return {
        "Figure_path": _figure(question.study),
        "Question": question.text,
        "Answer": question.options[question.right],
        **marked,
        "Answer_label": question.letter,
    }


def write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a CSV file with a header; `rows` has at least one row, whose keys are the columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
