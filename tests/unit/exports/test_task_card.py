"""Cards of tasks: what a reader of results should know of a task, from its file and the README beside it."""

from harness.exports.bundles.layout import shipped_names
from harness.exports.task_card import task_cards


def test_every_task_and_group_has_a_card() -> None:
    cards = task_cards()
    assert cards.keys() == shipped_names()
    assert cards["huatuo_vqa"].members == ("vqa_rad_yes_no", "slake", "pathvqa", "pmc_vqa")
    for card in cards.values():
        assert card.title
        assert card.members or (card.headline and card.metrics and card.gives and card.licence)
        assert card.members or card.defects or card.remarks


def test_a_card_says_what_is_asked_under_which_terms() -> None:
    card = task_cards()["vqa_rad"]
    assert card.prompt == "{question}\nAnswer in a word or a short phrase."
    assert (card.gives, card.headline, card.cluster) == ("text", ("vqa_accuracy", "standard", "micro"), "image")
    assert (card.paper, card.url) == ("VQA-RAD, Scientific Data 2018", "https://doi.org/10.1038/sdata.2018.251")
    assert card.redistribute
    assert card.licence[0].startswith("CC0 1.0: the images may be shown")


def test_defects_are_plain_text_without_the_marks_of_markdown() -> None:
    defects = dict(task_cards()["vqa_rad"].defects)
    assert defects["missing values are the text NULL"] == "read as missing"
    assert not [text for card in task_cards().values() for pair in card.defects for text in pair if "`" in text]


def test_a_paper_with_words_of_its_own_is_asked_in_them() -> None:
    card = task_cards()["vqa_rad_yes_no"]
    assert "{options}" in card.prompt
    assert not card.prompt.endswith("Reply with the letter of the right option and nothing else.")
    assert card.samples == 251
