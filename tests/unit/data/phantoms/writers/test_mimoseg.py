"""Synthetic patients as MIMOSeg: the same for the same seed, words that fit the masks, no shortcut, named defects."""

import hashlib
import json
import re
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.phantoms.defects.mimoseg import DEFECTS, plant_mimoseg
from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.knowledge import KNOWLEDGE
from harness.data.phantoms.writers.mimoseg import MODALITIES, write_mimoseg
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.mimoseg.reader import READER, SPLITS, SUBSETS, file_of
from harness.data.releases.reader import ReleaseRequest
from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.tasks.prepare import prepare_release
from harness.tasks.spec import Release
from harness.text.grounded_text import parse

# Defect -> the finding or repair that names it, if it is not called the same.
NAMED_AS = {
    "missing_suffix": "image_suffix_added",
    "closing_tag": "closing_tag_rewritten",
    "token_outside": "token_moved_into_entity",
    "other_name": "entity_mismatch",
    "missing_words": "instruction_worded",
    "missing_prompt": "missing_value",
    "prompt_outside": "misplaced_prompt",
    "prompt_beside": "misplaced_prompt",
    "missing_entities": "missing_value",
    "broken_runs": "unreadable_file",
    "train_overlap": "train_test_overlap",
}


def read(root: Path, split: str, subset: str) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="mimoseg", split=split, subset=subset)
    samples = [sample for _, sample in READER.read(ReleaseFiles(root=root, derived=root), request, integrity)]
    integrity.conclude()
    return samples, integrity


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mimoseg")
    write_mimoseg(folder, seed=0)
    return folder


def records(root: Path, split: str, subset: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / file_of(split, subset)).read_text())
    return found


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        write_mimoseg(tmp_path / name, seed, patients=1)
    first, again, other = (digests(tmp_path / name) for name in ("first", "again", "other"))
    assert len(first) > 30
    assert first == again
    assert all(first[name] != other[name] for name in first if "/images/" in name)


@pytest.mark.parametrize("split", SPLITS)
def test_a_clean_folder_gives_no_alarm_and_has_every_stratum(root: Path, split: str) -> None:
    for subset in SUBSETS:
        samples, integrity = read(root, split, subset)
        assert (integrity.findings, integrity.repairs) == ([], {})
        assert not [sample.id for sample in samples if sample.defect]
        assert {sample.strata["modality"] for sample in samples} == set(MODALITIES)
        assert {sample.strata["wording"] for sample in samples} == {"ours"}
        prompts = {"box", "point"} if subset in SUBSETS[1::2] else {"none"}
        assert {sample.strata["prompt"] for sample in samples} == prompts


def test_test_samples_are_as_many_as_the_readme_says_and_of_every_kind(root: Path) -> None:
    samples = {subset: read(root, "test", subset)[0] for subset in SUBSETS}
    assert [len(found) for found in samples.values()] == [77, 48, 80, 48]
    for found in samples.values():
        assert len({sample.cluster for sample in found}) == 24
        assert {"one", "several"} <= {sample.strata["entities"] for sample in found}
        assert {"small", "medium", "large"} <= {sample.strata["target_size"] for sample in found}


def test_a_patient_is_in_one_split(root: Path) -> None:
    cases = [{sample.cluster for subset in SUBSETS for sample in read(root, split, subset)[0]} for split in SPLITS]
    assert [len(found) for found in cases] == [32, 8, 24]
    assert len(set.union(*cases)) == 64


def test_what_may_be_missing_is_asked_about_as_often_where_it_is_missing(root: Path) -> None:
    organs = {one.name for phantom in MODALITY_PHANTOMS for one in phantom.structures if one.role == "organ"}
    clues = {knowledge.clue: name for name, knowledge in KNOWLEDGE.items()}
    for subset, split in ((SUBSETS[0], "train"), (SUBSETS[0], "test"), (SUBSETS[2], "train"), (SUBSETS[2], "test")):
        there: dict[str, Counter[bool]] = defaultdict(Counter)
        for record in records(root, split, subset):
            phantom = record["image"].split("--")[1]
            if subset == SUBSETS[0] and len(record["entities"]) < 2:
                named = [name for name in KNOWLEDGE if name in record["instruction"]]
                name = max(named, key=len)
            elif clue := next((clue for clue in clues if f"that {clue}" in record["instruction"]), None):
                name = clues[clue]
            else:
                continue
            if name not in organs:
                there[f"{phantom} {name}"][bool(record["entities"])] += 1
        assert len(there) > 5
        assert all(counts[True] == counts[False] for counts in there.values()), there


@pytest.mark.parametrize("split", SPLITS)
def test_a_prompt_lies_on_what_the_answer_names_and_the_question_does_not(root: Path, split: str) -> None:
    for subset in SUBSETS[1::2]:
        for record in records(root, split, subset):
            masks = {one["name"]: _pixels(root, one["mask"]) for one in record["entities"]}
            assert not [name for name in masks if re.search(rf"\b{name}\b", record["instruction"])]
            if "box" in record["prompt"]:
                left, top, right, bottom = record["prompt"]["box"]
                shares = [mask[top:bottom, left:right].sum() / mask.sum() for mask in masks.values()]
                assert min(shares) >= 0.9
            else:
                ((column, row),) = record["prompt"]["points"]
                (mask,) = masks.values()
                assert mask[row, column]


def _pixels(root: Path, path: str) -> Any:
    with Image.open(root / "MIMOSeg" / path) as image:
        return np.asarray(image) > 0


def test_questions_of_perspectives_iii_and_iv_never_name_what_is_looked_for(root: Path) -> None:
    for subset in SUBSETS[2:]:
        for record in records(root, "train", subset):
            assert not [one for one in record["entities"] if re.search(rf"\b{one['name']}\b", record["instruction"])]


def test_answers_wrap_each_entity_once_in_the_order_of_the_masks(root: Path) -> None:
    for subset in SUBSETS:
        for record in records(root, "test", subset):
            wrapped = [entity.name for entity in parse(record["answer"], "mimo").entities]
            assert wrapped == [entity["name"] for entity in record["entities"]]


def test_every_structure_that_is_drawn_has_something_to_be_known_of() -> None:
    drawn = {one.name for phantom in MODALITY_PHANTOMS if phantom.code in MODALITIES for one in phantom.structures}
    assert set(KNOWLEDGE) == drawn
    texts = [text for knowledge in KNOWLEDGE.values() for text in (knowledge.clue, knowledge.fact)]
    assert len(set(texts)) == len(texts)


# --- defects


@pytest.mark.parametrize("defect", sorted(set(DEFECTS) - {"duplicate_id"}))
def test_each_planted_defect_is_named_where_it_was_put(root: Path, tmp_path: Path, defect: str) -> None:
    spoilt = Path(shutil.copytree(root, tmp_path / "spoilt"))
    (planted,) = plant_mimoseg(spoilt, frozenset({defect}))
    assert planted.defect == defect
    name = NAMED_AS.get(defect, defect)
    subset = next((subset for subset in SUBSETS if subset in planted.where), SUBSETS[0])
    _, integrity = read(spoilt, "test", subset)
    found = {finding.where for finding in integrity.findings} | set(integrity.examples.get(name, ()))
    assert found == {planted.where}
    assert {*integrity.counts, *integrity.repairs} == {name}


def test_an_id_that_stands_twice_ends_the_preparation(root: Path, tmp_path: Path) -> None:
    spoilt = Path(shutil.copytree(root, tmp_path / "spoilt"))
    plant_mimoseg(spoilt, frozenset({"duplicate_id"}))
    with pytest.raises(DataError, match="mimoseg/test/perspective_1/00000"):
        prepare_release(
            Release(reader="mimoseg", subset="perspective_1"),
            dataset="mimoseg",
            window=None,
            roots=[spoilt],
            cache=tmp_path / "cache",
        )


def test_a_defect_stays_in_its_place_whatever_else_is_planted(root: Path, tmp_path: Path) -> None:
    alone, together = (Path(shutil.copytree(root, tmp_path / name)) for name in ("alone", "together"))
    (only,) = plant_mimoseg(alone, frozenset({"other_name"}))
    assert only in plant_mimoseg(together, frozenset({"missing_file", "other_name", "prompt_beside"}))


def test_an_unknown_defect_is_refused_with_the_nearest(root: Path) -> None:
    expected = r"^defects: expected some of missing_file, .*, found 'mising_file' \(did you mean 'missing_file'\?\)$"
    with pytest.raises(SpecError, match=expected):
        plant_mimoseg(root, frozenset({"mising_file"}))
