"""Image releases of synthetic patients: layouts as released, the same for the same seed, words that fit the images."""

import hashlib
import json
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.families import write_phantoms
from harness.data.phantoms.patients.images import TURNS, draw_image, draw_patients
from harness.data.phantoms.writers.samed2d import write_samed2d
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.releases.samed2d import mecovqa
from harness.data.releases.samed2d import reader as samed2d
from harness.data.releases.vqa import vqa_rad
from harness.errors import SpecError
from harness.imaging.masks import decode
from harness.records import Sample

PATIENTS = 60  # of the fixture `root`


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def read(root: Path, reader: Reader, **request: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    asked = ReleaseRequest(**{"dataset": "demo", "split": "test"} | request)
    return [sample for _, sample in reader.read(ReleaseFiles(root=root, derived=root), asked, integrity)], integrity


@pytest.fixture(scope="module")
def masks(root: Path) -> tuple[list[Sample], Integrity]:
    return read(root, samed2d.READER, split="all")


def records(root: Path, file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / file).read_text())
    return found


# --- the same for the same seed


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    for name in ("first", "again"):
        write_phantoms(tmp_path / name, seed=4, patients=20, slices=1)
    assert len(digests(tmp_path / "first")) > 40
    assert digests(tmp_path / "first") == digests(tmp_path / "again")


def test_any_number_of_processes_draws_the_same_images() -> None:
    alone, together = (list(draw_patients(seed=2, patients=3, slices=1, workers=workers)) for workers in (1, 2))
    assert len(alone) == 3
    for one, other in zip(alone, together, strict=True):
        assert one.stem == other.stem
        assert np.array_equal(one.pixels, other.pixels)


def test_another_seed_draws_other_patients(root: Path, tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=1, patients=10)
    first, second = digests(root), digests(tmp_path)
    images = [name for name in second if "/images/" in name]
    assert len(images) == 20
    assert all(first[name] != second[name] for name in images)


def test_more_patients_leave_the_first_ones_as_they_were(root: Path, tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=0, patients=12)
    more = digests(root)
    assert all(more[name] == value for name, value in digests(tmp_path).items() if name.endswith(".png"))


def test_the_pixels_are_those_of_every_machine() -> None:
    """Digests of pixels, not of files, which depend on the version of zlib; a change bumps `phantoms.VERSION`."""
    drawn = (draw_image(seed=0, patient=patient, index=1, slices=2) for patient in range(len(MODALITY_PHANTOMS)))
    found = {image.modality_phantom.code: hashlib.sha256(image.pixels.tobytes()).hexdigest()[:12] for image in drawn}
    assert found == PIXELS


PIXELS = {
    "ct": "c398743f9a39",
    "us": "fb1227bca6df",
    "derm": "e9c5d655d946",
    "mr": "1cd566f653e7",
    "xray": "abf365111cfd",
    "fundus": "ba8f84537994",
    "endo": "ed6d30caa508",
    "oct": "d26dcf355a10",
    "micro": "deea6539ae02",
    "pet": "d2a883f2f7ed",
}


# --- images and masks


def test_the_readers_find_nothing_wrong(root: Path, masks: tuple[list[Sample], Integrity]) -> None:
    readings = [masks, read(root, vqa_rad.READER)]
    readings += [read(root, mecovqa.READER, subset=subset) for subset in mecovqa.SUBSETS]
    readings.append(read(root, mecovqa.READER, split="zeroshot", subset="grounding"))
    for samples, integrity in readings:
        assert samples
        assert integrity.findings == []
        assert all(sample.defect is None and not sample.target.absent for sample in samples)
        assert set(integrity.repairs) <= {"masks_merged_built"}


def test_every_modality_and_class_is_asked_about(masks: tuple[list[Sample], Integrity]) -> None:
    samples, _ = masks
    assert {sample.strata["modality"] for sample in samples} == {phantom.code for phantom in MODALITY_PHANTOMS}
    structures = {structure.name for phantom in MODALITY_PHANTOMS for structure in phantom.structures}
    assert {sample.strata["class"] for sample in samples} == structures
    assert {sample.strata["target_size"] for sample in samples} == {"small", "medium", "large"}


def test_at_least_eight_modalities_in_grey_and_in_colour(root: Path) -> None:
    modes = defaultdict(set)
    for path in (root / "SAMed2Dv1/images").iterdir():
        with Image.open(path) as image:
            modes[path.name.partition("_")[0]].add(image.mode)
            assert np.asarray(image).std() > 15
            assert image.width != image.height
    assert len(modes) >= 8
    assert all(len(found) == 1 for found in modes.values())
    assert set.union(*modes.values()) == {"L", "RGB"}


CONTRAST = {"nodule": -1, "tumor": 1, "aorta": 1, "skin lesion": -1, "optic disc": 1, "hemorrhage": -1, "lumen": -1}
CONTRAST |= {"fluid pocket": -1, "lung nodule": 1, "hot lesion": -1, "white cell": -1, "liver lesion": -1, "polyp": 1}


def test_structures_stand_out_from_their_surroundings(root: Path, masks: tuple[list[Sample], Integrity]) -> None:
    seen = set()
    for sample in masks[0]:
        name, mask = sample.target.entities[0].name, sample.target.entities[0].mask
        if name in CONTRAST and mask is not None:
            with Image.open(root / sample.media[0].path) as image:
                grey = np.asarray(image.convert("L"), dtype=float)
            inside = decode(mask)
            near = np.zeros_like(inside)
            for axis in (0, 1):
                for step in (-7, -5, 5, 7):
                    near |= np.roll(inside, step, axis)
            difference = grey[inside].mean() - grey[near & ~inside & (grey > 5)].mean()
            assert difference * CONTRAST[name] > 3, sample.id
            seen.add(name)
    assert seen == set(CONTRAST)


def test_instances_of_one_class_do_not_touch(root: Path) -> None:
    """What is to be counted can be counted."""
    from scipy.ndimage import label

    listing = json.loads((root / samed2d.LISTING).read_text())
    counted = {
        structure.name
        for phantom in MODALITY_PHANTOMS
        for structure in phantom.structures
        if structure.role == "lesion"
    }
    classes = json.loads((root / samed2d.CLASSES).read_text())
    for paths in listing.values():
        groups = defaultdict(list)
        for path in paths:
            names = {number: name for name, number in classes[path.split("--")[1]].items()}
            if names[path.split("--")[-1][:4]] in counted:
                groups[path[:-8]].append(np.asarray(Image.open(root / "SAMed2Dv1" / path)) > 0)
        for found in groups.values():
            assert label(np.any(found, axis=0), np.ones((3, 3)))[1] == len(found)


def test_no_patients_are_an_empty_release(tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=0, patients=0)
    assert json.loads((tmp_path / samed2d.LISTING).read_text()) == {}


# --- patients and splits


def test_a_patient_is_in_one_split_and_every_split_has_patients(root: Path) -> None:
    cases = {split: set[str]() for split in TURNS}
    for split, found in cases.items():
        for path in (root / "MeCoVQA" / split).iterdir():
            found.update(re.findall(r"Phantom\w+--case_\d{4}", path.read_text()))
    assert {split: len(found) for split, found in cases.items()} == {"train": 30, "validation": 10, "test": 20}
    assert len(set.union(*cases.values())) == PATIENTS


def test_slices_of_a_volume_share_their_patient(masks: tuple[list[Sample], Integrity]) -> None:
    images = {(sample.media[0].path, sample.cluster, sample.strata["modality"]) for sample in masks[0]}
    clusters = {code: {cluster for _, cluster, found in images if found == code} for code in ("ct", "us")}
    assert {code: len(found) for code, found in clusters.items()} == {"ct": 6, "us": 12}


# --- questions


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_wording_has_every_answer_equally_often(root: Path, split: str) -> None:
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records(root, f"vqa_rad/{split}set.json"):
        if record["answer_type"] == "CLOSED":
            answers[record["question"]][record["answer"]] += 1
    assert len(answers) > 30
    for question, counts in answers.items():
        assert set(counts) in ({"yes", "no"}, {"left", "right"}), question
        assert len(set(counts.values())) == 1, question


def test_answers_are_those_of_the_masks(root: Path) -> None:
    listing = json.loads((root / samed2d.LISTING).read_text())
    images = list(listing)
    classes = json.loads((root / samed2d.CLASSES).read_text())
    checked = Counter[str]()
    for record in records(root, "vqa_rad/trainset.json"):
        paths = listing[images[int(record["image_name"][5:10])]]
        ids = Counter(path.split("--")[-1][:4] for path in paths)
        names = {name: ids[number] for name, number in classes[paths[0].split("--")[1]].items()}
        words = record["question"]
        if words.startswith("Is there a ") and words.endswith(" in this image?"):
            name = words.removeprefix("Is there a ").removesuffix(" in this image?")
            assert (record["answer"] == "yes") == (names.get(name, 0) > 0), record
            checked["presence"] += 1
        if words.startswith("How many "):
            name = words.removeprefix("How many ").removesuffix("s are there in this image?")
            assert record["answer"] == str(names[name]), record
            checked["count"] += 1
        if words.startswith("Does the ") and "half of the image" in words:
            name, _, rest = words.removeprefix("Does the ").partition(" lie in the ")
            number = classes[paths[0].split("--")[1]][name]
            [path] = [path for path in paths if path.split("--")[-1][:4] == number]
            mask = np.asarray(Image.open(root / "SAMed2Dv1" / path)) > 0
            right = np.nonzero(mask)[1].mean() + 0.5 > mask.shape[1] / 2
            assert (record["answer"] == "yes") == (rest.startswith("right") == right), record
            checked["side"] += 1
    assert set(checked) == {"presence", "count", "side"}


def test_some_questions_are_about_what_the_modality_never_shows(root: Path) -> None:
    images = list(json.loads((root / samed2d.LISTING).read_text()))
    asked = [
        record
        for split in ("train", "test")
        for record in records(root, f"vqa_rad/{split}set.json")
        if "pleural effusion" in record["question"] and not images[int(record["image_name"][5:10])].count("x_ray")
    ]
    assert asked
    assert {record["answer"] for record in asked} == {"no"}


def test_region_questions_hold_one_region_and_grounding_answers_one_merged_mask(root: Path) -> None:
    for record in records(root, mecovqa.FILES["test", "region"][0]):
        question = record["conversations"][0]["value"]
        path = question.partition("<region>")[2].partition("</region>")[0]
        assert (root / "SAMed2Dv1" / path).is_file()
        assert question.startswith("<image>\n")
    for record in records(root, mecovqa.FILES["test", "grounding"][0]):
        answer = record["conversations"][1]["value"]
        assert answer.startswith("<SEG><mask>masks_merged/")
        assert answer.endswith("_merged.png</mask>")
    assert not (root / "SAMed2Dv1/masks_merged").exists()


def test_every_kind_of_question_has_several_wordings(root: Path) -> None:
    for subset in mecovqa.SUBSETS:
        questions = [turn["conversations"][0]["value"] for turn in records(root, mecovqa.FILES["train", subset][0])]
        words = {question.partition("<region>")[0] for question in questions}
        assert len(words) >= 4


# --- defects


def test_defects_are_planted_while_the_releases_are_written(tmp_path: Path) -> None:
    [one] = write_phantoms(tmp_path, seed=0, patients=20, defects=frozenset({"empty_mask"}))
    [mask] = [path for path in (tmp_path / "SAMed2Dv1/masks").iterdir() if not np.asarray(Image.open(path)).any()]
    assert str(mask.relative_to(tmp_path)) == one.where


def test_an_unknown_defect_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"expected some of missing_file, .*, found 'empty_masks' \(did you mean 'empty_"
    ):
        write_phantoms(tmp_path, seed=0, patients=20, defects=frozenset({"empty_masks"}))


def test_too_few_patients_for_defects_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected at least 20 patients of 2 slices to plant them in, found 3 of 2"):
        write_phantoms(tmp_path, seed=0, patients=3, defects=frozenset({"full_mask"}))
