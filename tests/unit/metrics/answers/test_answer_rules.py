"""The rules of `judge:rules`: what is credited, and what never is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.answers.answer_rules import compare


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("left lung", "It is the left lung."),
        ("both lungs", "Bilateral lungs"),
        ("right lower lobe", "lower lobe of the right lung"),
        ("left", "left, not right"),
        ("no pneumothorax", "There is no pneumothorax."),
        ("left effusion", "left effusion and no pneumothorax"),
        ("2 cm", "20 mm"),
        ("2.5 cm", "25mm"),
        ("3 x 4 cm", "30 by 40 mm"),
        ("1,200 ml", "1.2 l"),
        ("two nodules", "2 nodules"),
        ("50%", "50 percent"),
        ("L4", "the L4 vertebra"),
        ("yes", "Yes, it does."),
        ("no", "No."),
        ("benign", "benign, not malignant"),
        ("chest x-ray", "X ray of the chest"),
        ("pleural effusion", "pleural effusions"),
        ("肝脏", "肝脏。"),
        ("none", "None"),
        ("heart", "<think>liver?</think>Heart"),
    ],
)
def test_the_same_in_other_words_is_correct(reference: str, answer: str) -> None:
    found = compare(reference, answer)
    assert (found.verdict, found.score) == ("correct", 100.0), found


@pytest.mark.parametrize(
    ("reference", "answer", "reason"),
    [
        ("left lung", "right lung", "another side"),
        ("left", "not left", "another side"),
        ("left", "left or right", "another side"),
        ("左肺", "右肺", "another side"),
        ("pneumothorax", "no pneumothorax", "another polarity of 'pneumothorax'"),
        ("no pneumothorax", "pneumothorax", "another polarity of 'pneumothorax'"),
        ("pneumothorax", "pneumothorax is absent", "another polarity of 'pneumothorax'"),
        ("cardiomegaly", "cardiomegaly cannot be excluded", "another polarity of 'cardiomegaly'"),
        ("cardiomegaly", "No. Cardiomegaly", "it answers no"),
        ("benign", "malignant", "an opposite of 'benign'"),
        ("right lower lobe", "right upper and lower lobe", "an opposite of 'lower'"),
        ("2 cm", "2 mm", "another number or unit"),
        ("2 cm", "2", "another number or unit"),
        ("2 cm", "not 2 cm", "another number or unit"),
        ("2 cm", "about the size", "the number is missing"),
        ("-100 HU", "100 HU", "another number or unit"),
        ("L4", "L4 or L5", "another number or unit"),
        ("yes", "no", "not the same of yes and no"),
        ("the", "an", "other words"),
        ("liver", "spleen", "it holds 0 of 1 parts of the reference"),
        ("liver", "", "it holds 0 of 1 parts of the reference"),
    ],
)
def test_a_contradiction_is_incorrect_whatever_else_it_holds(reference: str, answer: str, reason: str) -> None:
    found = compare(reference, answer)
    assert (found.verdict, found.score, found.reason) == ("incorrect", 0.0, reason)


def test_half_of_the_words_alternatives_and_floods_are_partly_right() -> None:
    assert compare("liver, spleen", "spleen").score == 50.0
    assert compare("left lung", "lung").reason == "it holds 1 of 2 parts of the reference"
    assert compare("liver", "liver or spleen").reason == "it names alternatives"
    flood = "spleen kidney lung brain eye ear nose bladder bone skin vein artery muscle liver"
    assert compare("liver", flood).reason == "it holds 13 other words"
    assert compare("liver", flood).verdict == "partly"


NOUNS = st.lists(
    st.sampled_from(["effusion", "nodule", "lung", "lobe", "fracture", "mass", "kidney", "cyst", "pneumonia"]),
    min_size=1,
    max_size=4,
    unique=True,
).map(" ".join)
FRAMES = st.sampled_from(["{}", "There is {}.", "The image shows {}", "Answer: {}", "{}, as seen on CT"])
UNITS = {"mm": 10, "cm": 100, "m": 10_000}  # in tenths of a millimetre


@settings(max_examples=30, deadline=None)
@given(NOUNS, FRAMES, st.sampled_from([("left", "right"), ("right", "left"), ("left", "bilateral"), ("both", "right")]))
def test_the_opposite_side_is_never_credited(noun: str, frame: str, sides: tuple[str, str]) -> None:
    one, other = sides
    assert compare(f"{one} {noun}", frame.format(f"{other} {noun}")).score == 0
    assert compare(f"{one} {noun}", frame.format(f"{one} {noun}")).score == 100


@settings(max_examples=30, deadline=None)
@given(NOUNS, FRAMES, st.sampled_from(["no {}", "not {}", "absence of {}", "without {}", "{} is absent", "free of {}"]))
def test_the_opposite_polarity_is_never_credited(noun: str, frame: str, denial: str) -> None:
    assert compare(noun, frame.format(denial.format(noun))).score == 0
    assert compare(denial.format(noun), frame.format(noun)).score == 0


@settings(max_examples=30, deadline=None)
@given(
    NOUNS,
    FRAMES,
    st.integers(1, 500),
    st.sampled_from(sorted(UNITS)),
    st.integers(1, 500),
    st.sampled_from([*sorted(UNITS), "ml", "%", "mg", "years", ""]),
)
def test_a_length_is_credited_in_any_unit_and_no_other_number_is(
    noun: str, frame: str, number: int, unit: str, other: int, other_unit: str
) -> None:
    same = other_unit in UNITS and number * UNITS[unit] == other * UNITS[other_unit]
    found = compare(f"{noun} of {number / 10:g} {unit}", frame.format(f"{noun} of {other / 10:g} {other_unit}"))
    assert found.score == (100 if same else 0)
    converted = number / 10 * UNITS[unit] / UNITS["mm"]
    assert compare(f"{noun} of {number / 10:g} {unit}", frame.format(f"{noun}, {converted:.4f} mm")).score == 100
