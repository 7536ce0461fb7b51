"""OmniMedVQA: how records become samples, what is repaired, and what is found wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.data.releases.vqa.omnimedvqa import OPEN, READER, RESTRICTED
from harness.errors import DataError, SpecError
from harness.records import Sample

FILE = f"{OPEN}/Made Up.json"
PLACE = f"{FILE}[0]"
IMAGE = "Images/Made Up/scan 1.png"
SHAPE = (10, 20)
OPTIONS = {"option_A": "liver", "option_B": "spleen", "option_C": "left lung", "option_D": "heart"}
GONE = object()


def record(**changes: Any) -> dict[str, Any]:
    values = {
        "dataset": "Made Up",
        "question_id": "Made_Up_0001",
        "question_type": "Anatomy Identification",
        "question": "Which organ is shown?",
        "gt_answer": "left lung",
        "image_path": IMAGE,
        **OPTIONS,
        "modality_type": "CT(Computed Tomography)",
    }
    return {key: value for key, value in (values | changes).items() if value is not GONE}


class Release:
    """A folder with the open-access part, changed piece by piece."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / OPEN).mkdir(parents=True)
        self.write_image(IMAGE)

    def write_image(self, path: str) -> None:
        file = self.root / "OmniMedVQA" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", SHAPE[::-1]).save(file)

    def write(self, path: str, *records: Any) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(records))

    def read(self, *records: Any, **more: Any) -> tuple[list[Sample], Integrity]:
        """Return what the reader makes of these records, and the report with each sample counted."""
        if records:
            self.write(FILE, *records)
        integrity = Integrity()
        request = ReleaseRequest(**{"dataset": "o", "split": "all"} | more)
        files = ReleaseFiles(root=self.root, derived=self.root.parent / "derived")
        samples = [sample for _, sample in READER.read(files, request, integrity)]
        for sample in samples:
            integrity.count(sample)
        return samples, integrity

    def one(self, **changes: Any) -> tuple[Sample, Integrity]:
        (sample,), integrity = self.read(record(**changes))
        return sample, integrity


@pytest.fixture
def release(tmp_path: Path) -> Release:
    return Release(tmp_path / "data")


def test_a_question_is_read_as_it_stands(release: Release) -> None:
    sample, integrity = release.one()
    assert sample.id == "o/all/Made_Up_0001"
    assert (sample.question, sample.choices) == ("Which organ is shown?", ("liver", "spleen", "left lung", "heart"))
    assert (sample.target.answers, sample.target.choice) == (("left lung",), "C")
    assert sample.strata == {
        "modality": "ct",
        "question_type": "anatomy identification",
        "source": "made up",
        "options": "4",
    }
    assert (sample.cluster, sample.defect) == ("Made Up/scan 1.png", None)
    assert (sample.media[0].path, sample.media[0].size) == (f"OmniMedVQA/{IMAGE}", SHAPE)
    assert (integrity.findings, integrity.repairs) == ([], {})


@pytest.mark.parametrize(
    ("written", "code", "repairs"),
    [
        ("CT(Computed Tomography)", "ct", {}),
        ("MR (Mag-netic Resonance Imaging)", "mr", {"modality_spelling": 1}),
        ("MR (Magnetic Resonance Imaging)", "mr", {}),
        ("OCT (Optical Coherence Tomography", "oct", {"modality_spelling": 1}),
        ("OCT (Optical Coherence Tomography)", "oct", {}),
        ("X-Ray", "xray", {}),
        ("ultrasound", "us", {}),
        ("Dermoscopy", "derm", {}),
        ("Fundus Photography", "fundus", {}),
        ("Microscopy Images", "micro", {}),
        ("Endoscopy", "endo", {}),
        ("Colposcopy", "other", {}),
        ("Digital Photography", "other", {}),
        ("Infrared Reflectance Imaging", "other", {}),
    ],
)
def test_every_spelling_of_a_modality_has_its_code(
    release: Release, written: str, code: str, repairs: dict[str, int]
) -> None:
    sample, integrity = release.one(modality_type=written)
    assert (sample.strata["modality"], integrity.repairs, integrity.findings) == (code, repairs, [])


def test_a_modality_under_the_other_key_is_taken(release: Release) -> None:
    sample, integrity = release.one(modality_type=GONE, modality="X-Ray")
    assert (sample.strata["modality"], integrity.repairs) == ("xray", {"modality_key": 1})


@pytest.mark.parametrize(("key", "stratum"), [("modality_type", "modality"), ("question_type", "question_type")])
def test_a_stratum_that_is_not_stated_is_unknown_and_the_question_is_asked(
    release: Release, key: str, stratum: str
) -> None:
    sample, integrity = release.one(**{key: GONE})
    assert (sample.strata[stratum], sample.defect) == ("unknown", None)
    assert integrity.findings == [Finding("missing_value", PLACE, key)]
    sample, integrity = release.one(**{key: "Thermography"})
    assert (sample.strata[stratum], sample.defect) == ("unknown", None)
    assert integrity.findings == [Finding("unknown_value", PLACE, f"{key}: 'Thermography'")]


@pytest.mark.parametrize(
    ("changes", "options", "repairs"),
    [
        ({"option_D": GONE}, ("liver", "spleen", "left lung"), {}),
        ({"option_D": None}, ("liver", "spleen", "left lung"), {"empty_option_dropped": 1}),
        ({"option_D": "  "}, ("liver", "spleen", "left lung"), {"blanks_trimmed": 1, "empty_option_dropped": 1}),
        ({"option_A": GONE}, ("spleen", "left lung", "heart"), {"options_lettered_anew": 1}),
        (
            {"option_A": None, "option_D": None},
            ("spleen", "left lung"),
            {"empty_option_dropped": 1, "options_lettered_anew": 1},
        ),
    ],
)
def test_options_that_are_not_there_leave_no_letter(
    release: Release, changes: dict[str, Any], options: tuple[str, ...], repairs: dict[str, int]
) -> None:
    sample, integrity = release.one(**changes)
    assert (sample.choices, sample.strata["options"]) == (options, str(len(options)))
    assert sample.target.choice == "ABC"[options.index("left lung")]
    assert (integrity.repairs, integrity.findings) == (repairs, [])


def test_a_question_with_one_option_cannot_be_asked(release: Release) -> None:
    sample, integrity = release.one(option_A=GONE, option_B=GONE, option_D=GONE)
    assert sample.defect == "the record has 1 options, expected at least 2"
    assert integrity.findings == [Finding("missing_value", PLACE, "options")]


def test_a_repeated_option_is_reported_and_the_first_of_the_right_ones_is_the_choice(release: Release) -> None:
    sample, integrity = release.one(option_D="left lung ")
    assert (sample.target.choice, sample.choices[3]) == ("C", "left lung")
    assert integrity.findings == [Finding("duplicate_option", sample.id, "'left lung' more than once")]


@pytest.mark.parametrize("written", ["Left  Lung", "LEFT LUNG"])
def test_an_answer_that_differs_in_case_or_blanks_is_its_option(release: Release, written: str) -> None:
    sample, integrity = release.one(gt_answer=written)
    assert (sample.target.answers, sample.target.choice) == (("left lung",), "C")
    assert (integrity.repairs, integrity.findings) == ({"answer_spelling": 1}, [])


def test_an_answer_that_is_no_option_stands_without_a_letter_and_is_asked(release: Release) -> None:
    sample, integrity = release.one(gt_answer="C")
    assert (sample.target.answers, sample.target.choice, sample.defect) == (("C",), None, None)
    detail = "the answer is 'C', the options are 'liver', 'spleen', 'left lung', 'heart'"
    assert integrity.findings == [Finding("answer_not_among_options", sample.id, detail)]


def test_numbers_are_read_as_text_and_blanks_trimmed(release: Release) -> None:
    sample, integrity = release.one(gt_answer=2, option_A=1, option_B="2 ", option_C=GONE, option_D=GONE)
    assert (sample.choices, sample.target.answers, sample.target.choice) == (("1", "2"), ("2",), "B")
    assert integrity.repairs == {"blanks_trimmed": 1, "value_cast_to_text": 2}


@pytest.mark.parametrize("key", ["question", "gt_answer", "image_path"])
def test_a_record_without_what_it_needs_cannot_be_asked(release: Release, key: str) -> None:
    sample, integrity = release.one(**{key: GONE})
    assert sample.defect == f"the record has no {key}"
    assert integrity.findings == [Finding("missing_value", PLACE, key)]


def test_what_is_no_record_is_a_sample_that_cannot_be_asked(release: Release) -> None:
    (sample,), integrity = release.read("text")
    assert (sample.id, sample.cluster, sample.defect) == (
        "o/all/Made Up_row0",
        PLACE,
        "the record has no image_path",
    )
    assert integrity.repairs == {"id_from_row": 1}


def test_a_record_without_id_and_source_is_named_after_its_file(release: Release) -> None:
    sample, integrity = release.one(question_id=GONE, dataset=GONE)
    assert (sample.id, sample.strata["source"]) == ("o/all/Made Up_row0", "made up")
    assert integrity.repairs == {"id_from_row": 1}


def test_images_that_are_missing_or_broken_are_found_once_an_image(release: Release) -> None:
    broken = release.root / "OmniMedVQA/Images/broken.png"
    broken.write_bytes(b"no image")
    samples, integrity = release.read(
        *(record(image_path=path) for path in ("Images/gone.png", "Images/gone.png", "Images/broken.png"))
    )
    assert [sample.defect for sample in samples] == [
        "image OmniMedVQA/Images/gone.png is missing",
        "image OmniMedVQA/Images/gone.png is missing",
        "image OmniMedVQA/Images/broken.png cannot be read",
    ]
    assert [(found.kind, found.where) for found in integrity.findings] == [
        ("missing_file", "OmniMedVQA/Images/gone.png"),
        ("unreadable_file", "OmniMedVQA/Images/broken.png"),
    ]


def test_where_selects_by_every_stratum_and_opens_no_other_image(release: Release) -> None:
    others = [
        record(image_path="Images/gone.png", modality_type="X-Ray"),
        record(image_path="Images/gone.png", option_D=GONE),
        record(image_path="Images/gone.png", question_type="Disease Diagnosis"),
    ]
    where = {"modality": ("ct", "mr"), "options": ("4",), "question_type": ("anatomy identification",)}
    samples, integrity = release.read(record(), *others, where=where)
    assert [sample.strata["modality"] for sample in samples] == ["ct"]
    assert (integrity.selected, integrity.findings) == ((4, 1), [])
    with pytest.raises(SpecError, match=r"release\.where\.modalty: .* \(did you mean 'modality'\?\)"):
        release.read(record(), where={"modalty": ("ct",)})


def test_files_come_in_the_order_of_their_names(release: Release) -> None:
    release.write(f"{OPEN}/B.json", record(question_id="b"))
    release.write(f"{OPEN}/A.json", record(question_id="a2"), record(question_id="a1"))
    (release.root / OPEN / "notes.txt").write_text("not a list")
    assert [sample.id for sample in release.read()[0]] == ["o/all/a2", "o/all/a1", "o/all/b"]


def test_restricted_questions_are_counted_and_not_asked(release: Release) -> None:
    release.write(f"{RESTRICTED}/Elsewhere.json", *[record()] * 3)
    samples, integrity = release.read(record())
    assert len(samples) == 1
    detail = "3 questions on images that the release may not hand on"
    assert integrity.findings == [Finding("not_asked", f"{RESTRICTED}/Elsewhere.json", detail)]


def test_a_torn_file_names_itself(release: Release) -> None:
    (release.root / FILE).write_text(json.dumps([record()])[:-20])
    with pytest.raises(DataError, match=r"Made Up\.json: expected one JSON list: .*; the download may be incomplete"):
        release.read()


def test_the_one_split_is_there_with_a_file(release: Release) -> None:
    with pytest.raises(ReleaseAbsentError, match="reader omnimedvqa found the splits none, not 'all'"):
        READER.check_split(release.root, "all")
    release.write(FILE, record())
    READER.check_split(release.root, "all")
    with pytest.raises(ReleaseAbsentError, match="reader omnimedvqa found the splits all, not 'test'"):
        READER.check_split(release.root, "test")


def test_an_absent_release_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ReleaseAbsentError, match=r"expected OmniMedVQA/ below a data root.*foreverbeliever/OmniMedVQA"):
        READER.find_root([tmp_path])
