"""The pipeline `mimoseg`: good replies all stay, each planted fault is caught by its name, and the release is sound."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.construction.mimoseg.pipeline import bind, mimoseg
from harness.data.construction.pipeline import Inputs
from harness.data.construction.records import Question, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.mimoseg.reader import READER, SUBSETS
from harness.data.releases.reader import ReleaseRequest
from tests.support.constructing import Made, listed, mimoseg_reply, walk, words_of, write


@pytest.fixture(scope="module")
def good(images: Inputs) -> Made:
    return walk(mimoseg(), images, mimoseg_reply)


def test_all_good_items_of_four_perspectives_stay(good: Made) -> None:
    assert set(good.reasons) <= {"no_knowledge"}
    kinds = Counter(item.kind for item in good.items)
    assert set(kinds) == set(SUBSETS)
    assert len(good.asked) == kinds["perspective_3"] + kinds["perspective_4"]


def test_words_are_bound_to_the_masks_that_they_name(good: Made) -> None:
    for item in good.items:
        entities = item.fields["entities"]
        assert item.answer.count("<SEG></p>") == len(entities)
        assert all(f"<p>{entity['name']}<SEG></p>" in item.answer for entity in entities)
        assert {mask.path for mask in item.masks} == {
            f"SAMed2Dv1/{path}" for entity in entities for path in entity["masks"]
        }


def test_the_model_is_told_names_and_knowledge_and_shown_nothing(images: Inputs, good: Made) -> None:
    seen: list[Question] = []

    def reply(source: Source, question: Question) -> str:
        seen.append(question)
        return mimoseg_reply(source, question)

    walk(mimoseg(), images, reply, good.sources)
    words = {question.name: words_of(question) for question in seen}
    assert "Knowledge:\n" in words["perspective_3/one"]
    assert "The user has drawn a box." in words["perspective_4/box"]
    assert "The user has set a point." in words["perspective_4/point"]
    assert not any("{" in text.partition("Reply with")[0] for text in words.values())
    assert all(len(turn.parts) == 1 for question in seen for turn in question.messages)


def planted(change: Callable[[dict[str, str], str], object], name: str = "perspective_3/one") -> Callable[..., str]:
    """Return replies that are good, but for one question of each image."""

    def reply(source: Source, question: Question) -> str:
        good = mimoseg_reply(source, question)
        if question.name != name:
            return good
        changed = change(json.loads(good), listed(words_of(question))[0][0])
        return changed if isinstance(changed, str) else json.dumps(changed)

    return reply


def organ_beside(name: str) -> str:
    return "The pancreas is swollen, too." if "pancreas" not in name else "The knee is swollen, too."


BAD: dict[str, Callable[[dict[str, str], str], object]] = {
    "wrong_json": lambda good, _: json.dumps(good)[:-9],
    "schema": lambda good, _: {"question": good["question"]},
    "refusal": lambda _good, _name: "I'm sorry, but I cannot describe an image that I do not see.",
    "empty": lambda good, _: good | {"question": " "},
    "foreign_language": lambda good, name: good | {"answer": f"Das ist {name}, und es gibt keine Auffälligkeit."},
    "over_long": lambda good, _: good | {"answer": good["answer"] * 60},
    "leaked_answer": lambda good, name: good | {"question": f"What do you make of the {name}?"},
    "hallucinated_organ": lambda good, name: good | {"answer": f"{good['answer']} {organ_beside(name)}"},
    "entity_not_named": lambda good, _: good | {"answer": "It is there."},
}


@pytest.mark.parametrize("reason", BAD)
def test_each_planted_fault_is_caught_by_its_name_and_all_others_stay(reason: str, images: Inputs, good: Made) -> None:
    made = walk(mimoseg(), images, planted(BAD[reason]), good.sources)
    number = sum(name == "perspective_3/one" for _, name in good.asked)
    assert made.reasons - good.reasons == {reason: number}
    assert len(made.items) == len(good.items) - number


def test_a_side_that_the_masks_deny_is_caught(images: Inputs, good: Made) -> None:
    def swapped(source: Source, question: Question) -> str:
        text = mimoseg_reply(source, question)
        if question.name != "perspective_3/one":
            return text
        return text.replace("left side", "LEFT").replace("right side", "left side").replace("LEFT", "right side")

    sided = [text for (_, name), text in good.asked.items() if name == "perspective_3/one" and " side of" in text]
    made = walk(mimoseg(), images, swapped, good.sources)
    assert sided
    assert made.reasons - good.reasons == {"wrong_laterality": len(sided)}


def test_a_question_that_is_asked_twice_of_an_image_is_a_duplicate(images: Inputs, good: Made) -> None:
    def same(source: Source, question: Question) -> str:
        found = json.loads(mimoseg_reply(source, question))
        return json.dumps(found | {"question": "What can be seen?"} if "perspective_3" in question.name else found)

    both = sum(name == "perspective_3/several" for _, name in good.asked)
    assert walk(mimoseg(), images, same, good.sources).reasons - good.reasons == {"duplicate": both}


def test_our_reader_finds_nothing_wrong_with_the_release(images: Inputs, good: Made, tmp_path: Path) -> None:
    places = write(mimoseg(), images, good, tmp_path, "train")
    assert len(set(places)) == len(good.items)
    read = 0
    for subset in SUBSETS:
        integrity = Integrity()
        request = ReleaseRequest(dataset="d", split="train", subset=subset)
        for _, sample in READER.read(ReleaseFiles(root=tmp_path, derived=tmp_path), request, integrity):
            integrity.count(sample)
        assert integrity.counts == {}
        assert integrity.defective == 0
        read += integrity.samples
    assert read == len(good.items)


def test_the_longest_names_are_bound_once_each_and_in_the_plural() -> None:
    names = ["liver", "liver lesion", "kidney"]
    assert bind("Two liver lesions in the Liver, and a liver; <p>kidneys<SEG></p>.", names) == (
        "Two <p>liver lesions<SEG></p> in the <p>Liver<SEG></p>, and a liver; <p>kidneys<SEG></p>."
    )
    assert bind("A finding.", []) == "A finding."


def test_the_same_seed_places_the_same_prompts(images: Inputs, good: Made) -> None:
    again = [candidate.load() for candidate in mimoseg().sources(images)]
    assert [source.facts["prompts"] for source in again] == [source.facts["prompts"] for source in good.sources]
    other = Inputs(root=images.root, cache=images.cache, seed=1)
    moved = [candidate.load() for candidate in mimoseg().sources(other)]
    assert [source.facts["prompts"] for source in moved] != [source.facts["prompts"] for source in good.sources]
