"""The options that a closed question names, on real questions of VQA-RAD and SLAKE."""

import json
from pathlib import Path

import pytest

from harness.data.integrity import Finding, Integrity
from harness.data.releases.vqa.closed_options import alternatives, options_of


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ("Is the lesion on the left or right?", ("left", "right")),
        ("Is the colon more prominent on the patient's right or left side?", ("right", "left side")),
        ("Is this an MRI or a CT scan?", ("MRI", "CT scan")),
        ("Was a CT or MRI used to take the above image?", ("CT", "MRI")),
        ("Is this patient male or female?", ("male", "female")),
        ("Are the structures in the pancreas cystic or solid?", ("cystic", "solid")),
        ("Is this a T1 weighted, T2 weighted, or FLAIR image?", ("T1 weighted", "T2 weighted", "FLAIR")),
        ("Are opacities located on the left, right, or both sides of the lung?", ("left", "right", "both sides")),
        ("Which organ is abnormal, heart or lung?", ("heart", "lung")),
        ("Which is the biggest in this image, spleen,lung, or liver?", ("spleen", "lung", "liver")),
        ("Which is smaller in this image,liver or right kidney?", ("liver", "right kidney")),
        ("Which is bigger in this image, small bowel or colon?", ("small bowel", "colon")),
        ("On which side of the image is the liver, left or right?", ("left", "right")),
        ("Is there an effusion?", ()),
        ("Or is it?", ()),
        ("or", ()),
        ("", ()),
    ],
)
def test_alternatives_stand_around_the_last_or(question: str, named: tuple[str, ...]) -> None:
    assert alternatives(question) == named


@pytest.mark.parametrize(
    ("question", "answer", "options", "letter"),
    [
        ("Is there an effusion or a mass?", "No", ("yes", "no"), "B"),
        ("Is there an effusion?", " YES.", ("yes", "no"), "A"),
        ("Is the gastric bubble on the left or right side of the patient?", "Right side", ("left", "right side"), "B"),
        ("Are there multiple or just 1 metastatic focus?", "one", ("multiple", "1 metastatic focus"), "B"),
        (
            "Which plane is it, transverse plane or coronal plane?",
            "Coronal",
            ("transverse plane", "coronal plane"),
            "B",
        ),
        ("Where is the heart in this image,left,top or upper left?", "Left", ("left", "top", "upper left"), "A"),
    ],
)
def test_the_answer_is_found_among_them(question: str, answer: str, options: tuple[str, ...], letter: str) -> None:
    integrity = Integrity()
    found = options_of(question, answer, "here", integrity)
    assert found is not None
    assert (found.texts, found.letter) == (options, letter)
    assert integrity.findings == []


def test_an_answer_that_the_question_does_not_name_becomes_the_last_option_and_is_found() -> None:
    integrity = Integrity()
    found = options_of("Which is bigger, kidney or spleen?", "Liver", "test.json[3]", integrity)
    assert found is not None
    assert (found.texts, found.letter, found.answer) == (("kidney", "spleen", "liver"), "C", "liver")
    detail = "the answer is 'Liver', the question names 'kidney', 'spleen'"
    assert integrity.findings == [Finding("answer_not_among_options", "test.json[3]", detail)]


def test_an_abbreviation_keeps_its_capitals() -> None:
    found = options_of("Is it seen by x-ray or ultrasound?", "MRI", "here", Integrity())
    assert found is not None
    assert found.answer == "MRI"


def test_a_question_without_alternatives_has_no_options() -> None:
    integrity = Integrity()
    assert options_of("How would you describe the mass?", "Cystic", "here", integrity) is None
    assert integrity.counts == {"missing_value": 1}


def test_every_closed_test_question_of_vqa_rad_names_its_answer(test_data: Path) -> None:
    records = json.loads((test_data / "vqa_rad/testset.json").read_text())
    closed = [record for record in records if record["answer_type"].strip() == "CLOSED"]
    integrity = Integrity()
    found = [options_of(one["question"], str(one["answer"]), str(one["qid"]), integrity) for one in closed]
    assert len(found) == 272
    assert integrity.findings == []
    assert sum(one is not None and one.texts != ("yes", "no") for one in found) == 21
