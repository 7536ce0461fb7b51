"""What the values of masks mean: background and void are no class, and labels that do not fit the masks are refused."""

import pytest

from harness.data.releases.folders.labels import (
    Label,
    LabelSet,
    ValuesFound,
    label_set,
    labels_fault,
    shown,
    values_fault,
    values_of,
)
from harness.errors import DataError, SpecError

LIVER, KIDNEYS = Label(name="liver", values=(1,)), Label(name="kidneys", values=(2, 3))
ORGANS = LabelSet(labels=(LIVER, KIDNEYS))


@pytest.mark.parametrize("name", ["background", "Background", "BG", "_background_", "__Background__"])
def test_background_is_no_class_whatever_its_value_and_form(name: str) -> None:
    assert label_set({name: (4,), "liver": (1,)}, "labels") == LabelSet(labels=(LIVER,), ignored=frozenset({4}))
    assert label_set({name: "back", "liver": "liver"}, "labels").labels == (Label(name="liver", text="liver"),)


def test_value_0_is_background_under_any_name() -> None:
    assert label_set({"air": (0,), "liver": (1,)}, "labels").labels == (LIVER,)


def test_the_label_ignore_is_void_and_no_class() -> None:
    assert label_set({"liver": (1,), "Ignore": (5,)}, "labels") == LabelSet(labels=(LIVER,), void=frozenset({5}))
    # In masks of their own, `ignore` has no value that could be left out of the others.
    assert len(label_set({"liver": "liver", "ignore": "ignore"}, "labels").labels) == 2


def test_labels_of_nothing_but_background_are_refused() -> None:
    with pytest.raises(DataError, match=r"d/labels.json: expected a label to ask about, found background, ignore"):
        label_set({"background": (0,), "ignore": (3,)}, "d/labels.json")


def test_regions_share_values_and_the_first_gives_the_name() -> None:
    regions = label_set({"whole tumor": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}, "dataset.json: labels")
    assert regions.named == {1: "whole tumor", 2: "whole tumor", 3: "whole tumor"}
    assert regions.unnamed([1, 2, 3, 4]) == [4]
    assert not label_set({"liver": "text"}, "labels").unnamed([7])


def test_options_add_values_that_are_not_asked_about() -> None:
    found = ORGANS.options(ignored=[7], void=[255])
    assert (found.labels, found.unnamed([1, 7, 8, 255])) == (ORGANS.labels, [8])
    assert found.void == {255}


@pytest.mark.parametrize(
    ("ignored", "void", "message"),
    [
        ([3], [], r"labels_ignored: expected values that no label names, found 3 \(kidneys\)"),
        ([], [1], r"ignore: expected values that no label names, found 1 \(liver\)"),
    ],
)
def test_a_value_is_not_named_and_ignored(ignored: list[int], void: list[int], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ORGANS.options(ignored=ignored, void=void)


def test_values_are_not_ignored_where_all_of_them_count() -> None:
    whole = LabelSet(labels=(Label(name="target"),))
    with pytest.raises(
        SpecError, match="labels_ignored: expected labels with values beside it, found labels of which e"
    ):
        whole.options(ignored=[2], void=[])
    assert whole.options(ignored=[], void=[255]).void == {255}


@pytest.mark.parametrize(
    ("values", "others", "expected"),
    [((255,), {}, 255), ((1,), {}, 1), ((7,), {}, 255), ((1, 255), {}, 255), ((1,), {"void": frozenset({255})}, 1)],
)
def test_a_file_of_one_bit_has_the_value_that_is_named(
    values: tuple[int, ...], others: dict[str, frozenset[int]], expected: int
) -> None:
    labels = (Label(name="polyp", values=values),)
    assert LabelSet(labels=labels, void=others.get("void", frozenset())).one_bit_value() == expected


@pytest.mark.parametrize(
    ("named", "values", "problem"),
    [
        ((255,), [1], "holds 1 and not 255"),
        ((1,), [255], "holds 255 and not 1"),
        ((255,), [255], ""),
        ((255,), [], ""),
        ((255,), [1, 2], ""),  # a label image
        ((255,), [7], ""),
        ((2,), [1], ""),  # of two kinds of lesion, one is asked about
        ((1, 255), [65535], ""),
    ],
)
def test_a_mask_may_hold_the_only_label_under_another_value(
    named: tuple[int, ...], values: list[int], problem: str
) -> None:
    labels = LabelSet(labels=(Label(name="polyp", values=named),))
    assert labels.other_encoding(values) == problem
    assert labels.options(ignored=[3], void=[]).other_encoding([3]) == ""


@pytest.mark.parametrize("value", [{"background": 0, "liver": 1}, {"a": [2, 3]}, {"a": "text"}, ["a"]])
def test_right_labels_have_no_fault(value: object) -> None:
    assert labels_fault(value) == ""


def test_only_background_may_have_the_value_0() -> None:
    assert labels_fault({"liver": 0}) == (
        "liver: expected a whole number of at least 1, a list of them, or text, found 0"
    )


@pytest.mark.parametrize("value", [0, [0], [True], ["a"], "255", [1.5]])
def test_ignored_values_are_whole_numbers_from_1_on(value: object) -> None:
    assert values_fault(value) == f"expected a list of whole numbers of at least 1, found {value!r}"
    assert values_fault([1, 255]) == ""


def test_values_of_a_label_are_one_or_several() -> None:
    assert (values_of(3), values_of([1, 2]), values_of("4")) == ((3,), (1, 2), (4,))


def test_many_values_are_cut() -> None:
    assert shown(range(1, 13)) == "1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more"


def found(labels: LabelSet, **files: tuple[int, ...]) -> ValuesFound:
    values = ValuesFound(labels)
    for path, held in files.items():
        values.add(path, held)
    return values


@pytest.mark.parametrize(
    "files",
    [
        {"a": (1, 2, 3)},
        {"a": (1,), "b": (2,), "c": (3, 9)},  # 9 is unknown, but all that is named occurs
        {"a": (1,)},  # two values are in no file, but nothing else is either
        {"a": ()},
        {},
    ],
)
def test_labels_that_may_fit_are_not_refused(files: dict[str, tuple[int, ...]]) -> None:
    found(ORGANS, **files).check("d")


def test_labels_that_fit_no_mask_are_refused_with_what_to_write() -> None:
    polyp = LabelSet(labels=(Label(name="polyp", values=(255,)),))
    with pytest.raises(DataError) as caught:
        found(polyp, a=(1,), b=(1,), c=()).check("d")
    assert str(caught.value) == (
        "d: labels and masks do not fit. `labels` names 255 (polyp); expected each in some of the 3 mask files, found "
        "255 (polyp) in none, but values without a name: 1 (in 2, such as a). Write the values that the masks hold, "
        "for example `labels: {polyp: 1}`, or, if they are not to be asked about, `labels_ignored: [1]`; values of "
        "void pixels belong in `ignore`"
    )


def test_a_named_value_that_no_mask_holds_is_refused_beside_one_without_a_name() -> None:
    values = found(ORGANS, a=(1, 2), b=(4, 5))
    with pytest.raises(DataError, match=r"found 3 \(kidneys\) in none, but .*: 4 \(in 1, such as b\); 5 \(in 1, .*"):
        values.check("d")
    with pytest.raises(DataError, match=r"for example `labels: {liver: 1, kidneys: \[2, 4\]}`"):
        values.check("d")
    values.add_elsewhere((3, 8))
    values.check("d")
    found(ORGANS.options(ignored=[4, 5], void=[]), a=(1, 2), b=(4, 5)).check("d")


def test_a_single_label_with_wrong_values_gets_all_unnamed_ones_as_advice() -> None:
    lesion = LabelSet(labels=(Label(name="lesion", values=(255,)),), source="d/labels.json")
    with pytest.raises(DataError, match=r"`d/labels.json` names 255 .*`labels: {lesion: \[1, 2\]}`"):
        found(lesion, a=(1, 2)).check("d")
