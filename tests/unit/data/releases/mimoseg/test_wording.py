"""MIMOSeg's wordings: two lists of templates of the same kinds, from which the sample's id chooses."""

import pytest

from harness.data.releases.mimoseg.wording import AUTHORS, OURS, chosen, listed, load_wording


def test_lists_are_written_as_in_the_paper() -> None:
    assert [listed(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_both_lists_have_the_same_kinds_of_question_and_no_wording_of_one_is_in_the_other() -> None:
    authors, ours = load_wording(AUTHORS), load_wording(OURS)
    assert set(authors.lists) == set(ours.lists) == {"perspective_1", "perspective_2_box", "perspective_2_point"}
    counts = {
        kind: tuple(len(lists[part]) for part in ("instructions", "one")) for kind, lists in authors.lists.items()
    }
    assert counts == {"perspective_1": (9, 6), "perspective_2_box": (8, 6), "perspective_2_point": (8, 6)}
    texts = [
        {text for lists in wording.lists.values() for templates in lists.values() for text in templates}
        for wording in (authors, ours)
    ]
    assert not texts[0] & texts[1]
    assert "arXiv:2510.10011" in authors.source
    named = [text for kind in ("perspective_2_box", "perspective_2_point") for text in ours.lists[kind]["instructions"]]
    assert not [text for text in named if "{}" in text], "perspective II never names the target"


def test_a_key_always_chooses_the_same_template_and_keys_differ() -> None:
    assert "".join(chosen("abcdef", str(number)) for number in range(6)) == "abebef"
    assert len({chosen("abcdef", str(number)) for number in range(100)}) == 6


@pytest.mark.parametrize("names", [["liver"], ["liver", "spleen"]])
def test_an_answer_names_every_label_in_its_tags(names: list[str]) -> None:
    answer = load_wording(OURS).answer("perspective_1", names, "key")
    assert answer is not None
    assert all(answer.count(f"<p>{name}<SEG></p>") == 1 for name in names)


def test_nothing_is_worded_without_labels_or_for_written_perspectives() -> None:
    wording = load_wording(OURS)
    assert wording.instruction("perspective_1", [], "key") is None
    assert wording.answer("perspective_1", [], "key") is None
    assert wording.instruction("perspective_3", ["liver"], "key") is None
    assert wording.refusal("perspective_3", "liver", "key") is None
