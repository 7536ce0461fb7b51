"""Every check of constructed items: what it rejects, and what it must leave."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from harness.data.construction.checks.checked_item import CheckedItem, CheckedMask, Limits
from harness.data.construction.checks.checklist import DUPLICATE, ITEM_CHECKS, item_checks
from harness.data.construction.records import Item, Source
from harness.errors import SpecError

LEFT = {"liver": frozenset({"left"})}
ABDOMEN = {"present": ("liver", "liver lesion", "kidney"), "sides": LEFT, "places": LEFT}
EN = Limits(question_words=20, answer_words=20)
ZH = Limits(language="zh", question_words=40, answer_words=40)


def first_fault(limits: Limits = EN, **given: Any) -> str | None:
    """Return the name of the first check that an item fails."""
    item = CheckedItem(**{"question": "What does the image show?", "answer": "Nothing abnormal is seen.", **given})
    return next((name for name, (_, fault) in ITEM_CHECKS.items() if fault(item, limits) is not None), None)


@pytest.mark.parametrize(
    ("check", "given"),
    [
        ("empty", {"answer": " \n"}),
        ("empty", {"question": "?!"}),
        ("stray_markup", {"question": "What is in <region>a.png</region>?"}),
        ("stray_markup", {"answer": "Here: <SEG>."}),
        ("stray_markup", {"answer": "It is [SEG]."}),
        ("stray_markup", {"question": "Is <box> in <box>?", "marks": ("<box>",)}),
        ("refusal", {"answer": "I'm sorry, but I cannot help with that."}),
        ("refusal", {"answer": "As an AI language model, I do not read scans."}),
        ("refusal", {"answer": "I cannot see the image you mention."}),
        ("refusal", {"answer": "No image was provided."}),
        ("refusal", {"question": "Could you please provide the image?"}),
        ("refusal", {"answer": "抱歉，我无法查看图像。"}),
        ("foreign_language", {"answer": "В печени видно образование."}),
        ("foreign_language", {"answer": "肝脏内可见低密度影。"}),
        ("foreign_language", {"answer": "Das Bild zeigt eine Leber und keine Läsion."}),
        ("foreign_language", {"question": "¿Qué muestra esta imagen del hígado?", "answer": "A liver."}),
        ("foreign_language", {"answer": "L'image montre une lésion dans le foie."}),
        ("over_long", {"answer": "The liver is normal. " * 6}),
        ("over_long", {"question": "What is it? " * 7}),
        ("answer_not_in_options", {"options": ("liver", "spleen"), "answer": "kidney"}),
        ("answer_not_in_options", {"options": ("liver", "Liver."), "answer": "liver"}),
        ("answer_not_in_options", {"options": ("liver", "spleen"), "answer": "spleen", "choice": "A"}),
        ("answer_not_in_options", {"choice": "A"}),
        ("leaked_answer", {"question": "Where in the liver is the liver lesion?", "answer": "The liver lesion."}),
        ("leaked_answer", {"question": "Can you name the liver here?", "answer": "A liver."}),
        (
            "leaked_answer",
            {"question": "Which renal finding?", "answer": "It makes urine.", "hidden": ("kidney",)},
        ),
        (
            "leaked_answer",
            {"question": "Which organ, such as the liver, is this?", "answer": "liver", "options": ("liver", "spleen")},
        ),
        ("mask_missing", {"masks": (CheckedMask(name="liver", class_name="liver", area=0),)}),
        ("mask_missing", {"masks": (CheckedMask(name="liver", class_name="liver", area=None),)}),
        ("mask_of_other_class", {"masks": (CheckedMask(name="liver", class_name="spleen", area=9),)}),
        ("mask_of_other_class", {"masks": (CheckedMask(name="liver", class_name=None, area=9),)}),
        ("hallucinated_organ", {**ABDOMEN, "answer": "The pancreas is enlarged."}),
        ("hallucinated_organ", {**ABDOMEN, "answer": "There is a splenic infarct."}),
        ("hallucinated_organ", {**ABDOMEN, "question": "Is the gall bladder inflamed?", "answer": "Yes."}),
        ("wrong_laterality", {**ABDOMEN, "answer": "The liver is on the right side of the image."}),
        ("wrong_laterality", {**ABDOMEN, "answer": "I see the right liver."}),
        ("wrong_laterality", {**ABDOMEN, "question": "Is the liver in the right half?", "answer": "Yes."}),
        ("entity_not_named", {"answer": "rib right 9", "named": ("rib left 9",), "present": ("rib",)}),
        ("entity_not_named", {**ABDOMEN, "named": ("liver lesion",), "answer": "A dark spot in the liver."}),
    ],
)
def test_a_bad_item_fails_the_check_that_names_its_fault(check: str, given: Mapping[str, Any]) -> None:
    assert first_fault(**given) == check


@pytest.mark.parametrize(
    "given",
    [
        {"answer": "no"},
        {"question": "What is in <box>?", "marks": ("<box>",)},
        {"answer": "A ratio <1 and > 0.5 [CT]."},
        {"answer": "No."},
        {"question": "Is there no liver lesion?", "answer": "No", **ABDOMEN},
        {"question": "Is the lesion on the left or the right?", "answer": "left"},
        {"question": "Is the lesion benign or malignant?", "answer": "benign"},
        {
            "question": "Is it left, right or central?",
            "answer": "Left.",
            "options": ("left", "right", "central"),
        },
        {"question": "Which side is it on?", "answer": "left", "options": ("left", "right"), "choice": "a"},
        {"question": "Is it liver or kidney?", "answer": "liver", "options": ("liver", "kidney"), **ABDOMEN},
        {"question": "Is a liver lesion seen?", "answer": "A liver lesion is seen.", **ABDOMEN},
        {"question": "What kind of liver lesion is it?", "answer": "cyst", **ABDOMEN},
        {"question": "Which organ makes urine?", "answer": "The kidney.", "hidden": ("kidney",), **ABDOMEN},
        {"question": "Which dark spot is it?", "answer": "A liver lesion.", "hidden": ("liver lesion",), **ABDOMEN},
        {"question": "What is in the liver?", "answer": "A liver lesion.", "hidden": ("liver lesion",), **ABDOMEN},
        {"answer": "The lesion cannot be seen on this slice."},
        {"answer": "I see no lesion, and I cannot exclude a small one."},
        {"answer": "The patient is unable to walk."},
        {"answer": "Café au lait spots; a Sjögren pattern, α-fetoprotein raised."},
        {"answer": "Carcinoma in situ, de novo."},
        {"answer": "T2-weighted MRI"},
        {"answer": "3"},
        {**ABDOMEN, "answer": "There is no pancreas, spleen or stomach in view."},
        {**ABDOMEN, "answer": "The spleen is not shown."},
        {**ABDOMEN, "answer": "The liver is without a lesion, and hepatic and renal outlines are smooth."},
        {**ABDOMEN, "answer": "The portal vein is wide."},
        {
            **ABDOMEN,
            "answer": "Blood from the gut passes the liver.",
            "material": "The liver clears the blood from the gut.",
        },
        {"present": ("optic disc",), "answer": "The retina around the optic disc is pale."},
        {**ABDOMEN, "answer": "The liver is on the left side of the image."},
        {**ABDOMEN, "answer": "The liver lies to the right of the kidney."},
        {**ABDOMEN, "answer": "The liver is large, and the kidney is on the right."},
        {**ABDOMEN, "answer": "The liver is not on the right."},
        {**ABDOMEN, "answer": "The right lobe of the liver is large."},
        {**ABDOMEN, "answer": "Livers like this are normal.", "named": ("liver",)},
        {"answer": "rib left 9", "named": ("rib 9",), "present": ("rib left 9",)},
        {"masks": (CheckedMask(name="Optic Disc", class_name="optic disc", area=3),)},
    ],
)
def test_a_good_item_passes_every_check(given: Mapping[str, Any]) -> None:
    assert first_fault(**given) is None


@pytest.mark.parametrize(
    ("given", "check"),
    [
        ({"question": "图像显示了什么？", "answer": "肝脏内可见病灶。", "present": ("liver",)}, None),
        ({"question": "这是什么检查？", "answer": "CT", "present": ("liver",)}, None),
        ({"question": "有脾脏吗？", "answer": "未见脾脏。", "present": ("liver",)}, "hallucinated_organ"),
        ({"question": "有什么？", "answer": "未见脾脏。", "present": ("liver",)}, None),
        ({"question": "有什么？", "answer": "肾上腺增大。", "present": ("kidney",)}, "hallucinated_organ"),
        ({"question": "哪个器官？", "answer": "The liver is enlarged and pale."}, "foreign_language"),
        ({"question": "哪个器官？", "answer": "很抱歉，我不能回答。"}, "refusal"),
        (
            {"question": "肝脏在哪里？", "answer": "在左侧。", "hidden": ("肝脏",)},
            "leaked_answer",
        ),
    ],
)
def test_chinese_items_are_read_in_chinese(given: Mapping[str, Any], check: str | None) -> None:
    assert first_fault(ZH, **given) == check


def test_a_model_that_saw_the_image_may_name_what_has_no_mask() -> None:
    assert first_fault(Limits(organs_from_material=False), answer="The pancreas is enlarged.") is None


def item(number: int, question: str) -> Item:
    return Item(id=f"s#{number}", source=Source(id="s"), kind="k", question=question, answer="yes")


def test_a_question_is_a_duplicate_on_the_same_image_and_visual_prompt_alone() -> None:
    def view(one: Item) -> CheckedItem:
        return CheckedItem(image=one.id[-1], visual_prompt=str(one.fields.get("box", "")), question=one.question)

    (check,) = item_checks(view, EN, without=tuple(ITEM_CHECKS))
    assert check.name == DUPLICATE
    fault = check.begin()
    assert fault(item(1, "Is it a cyst?")) == ""
    assert fault(item(2, "Is it a cyst?")) == ""
    assert fault(replace(item(1, "Is it a cyst?"), fields={"box": 1})) == ""
    assert fault(item(1, " is it  A cyst ")) == "asked before of this image: ' is it  A cyst '"
    # Each pass over the items begins without a memory.
    assert check.begin()(item(1, "Is it a cyst?")) == ""


def test_steps_have_the_names_and_the_order_of_the_checks() -> None:
    steps = item_checks(lambda _: CheckedItem(answer="I am sorry."), EN, without=("leaked_answer", DUPLICATE))
    assert [step.name for step in steps] == [name for name in ITEM_CHECKS if name != "leaked_answer"]
    faults = {step.name: step.begin()(item(1, "?")) for step in steps}
    assert faults["empty"] == "the question is empty"
    assert faults["refusal"] == "found 'I am sorry'"
    assert not any(faults[name] for name in faults if name not in ("empty", "refusal"))


def test_an_unknown_check_is_named_with_the_nearest() -> None:
    with pytest.raises(SpecError, match=r"found 'refusals' \(did you mean 'refusal'\?\)"):
        item_checks(lambda _: CheckedItem(), EN, without=("refusals",))
