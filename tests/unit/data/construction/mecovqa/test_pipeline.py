"""The pipeline `mecovqa`: descriptions and dialogues held against the masks, templates, and the release."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.construction.mecovqa.pipeline import mecovqa, meta_of
from harness.data.construction.pipeline import Inputs
from harness.data.construction.prompts import read_prompt_file
from harness.data.construction.records import Question, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.samed2d.mecovqa import READER, SUBSETS
from tests.support.constructing import Made, mecovqa_reply, walk, words_of, write


@pytest.fixture(scope="module")
def good(images: Inputs) -> Made:
    return walk(mecovqa(), images, mecovqa_reply)


def test_all_good_items_stay(good: Made) -> None:
    assert not good.reasons
    kinds = Counter(item.kind for item in good.items)
    assert kinds["complex"] == len(good.sources)
    assert kinds["region_name"] == kinds["grounding"] >= kinds["region_description"] > 0


def test_meta_information_comes_from_names_and_masks(good: Made) -> None:
    ct = next(source for source in good.sources if source.id.startswith("ct_"))
    lines = meta_of(ct).splitlines()
    assert lines[:4] == ["Modality: CT", "Orientation: axial", "Region: abdomen", "Structures:"]
    assert "- liver: on the left side of the image, large" in lines
    assert any(line.startswith("- kidney (2): on the left and the right sides of the image") for line in lines)
    # A dialogue is about one instance of each structure.
    assert any(
        " kidney: on the " in line and line.startswith("- <region_") for line in meta_of(ct, tokens=True).splitlines()
    )


def test_each_modality_has_an_example_of_its_own(images: Inputs, good: Made) -> None:
    seen: list[Question] = []

    def reply(source: Source, question: Question) -> str:
        seen.append(question)
        return mecovqa_reply(source, question)

    walk(mecovqa(), images, reply, good.sources)
    described = [question for question in seen if question.name == "describe"]
    assert len({str(question.messages[1]) for question in described}) == len(described) == 10
    assert not any("{" in words_of(question).partition("Reply with")[0] for question in seen)


Change = Callable[[str, str], str]

DESCRIPTION: dict[str, Change] = {
    "refusal": lambda good, _: f"I'm sorry, I cannot see the image. {good}",
    "foreign_language": lambda _good, _name: "Das Bild zeigt einen Befund, und es gibt keine Auffälligkeit.",
    "over_long": lambda good, _: good * 40,
    "hallucinated_organ": lambda good, _: f"{good} The knee is normal.",
    "entity_not_named": lambda _good, _name: "An image of the body.",
}


@pytest.mark.parametrize("reason", DESCRIPTION)
def test_a_faulty_description_ends_the_dialogue(reason: str, images: Inputs, good: Made) -> None:
    def reply(source: Source, question: Question) -> str:
        text = mecovqa_reply(source, question)
        return DESCRIPTION[reason](text, "") if question.name == "describe" else text

    made = walk(mecovqa(), images, reply, good.sources)
    assert made.reasons == {reason: len(good.sources)}
    assert {name for _, name in made.asked} == {"describe"}
    assert {item.kind for item in made.items} == {"region_name", "grounding"}


def region_of(change: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[Source, Question], str]:
    """Return good replies but for the first region of each dialogue."""

    def reply(source: Source, question: Question) -> str:
        text = mecovqa_reply(source, question)
        if question.name == "describe":
            return text
        elements = json.loads(text)
        elements[1] = change(elements[1])
        return json.dumps(elements)

    return reply


@pytest.mark.parametrize(
    ("reason", "change"),
    [
        ("schema", lambda one: {"region": "region_1", "question": one["question"]}),
        ("schema", lambda one: one | {"question": "How does <region_9> look?"}),
        ("schema", lambda one: one | {"question": "How do <region_1> and <region_2> look?"}),
        ("schema", lambda one: one | {"region": "region_2"}),
        ("schema", lambda one: one | {"question": "How does it look?"}),
        ("leaked_answer", lambda one: one | {"question": f"Is <region_1> {one['answer'][10:].partition(',')[0]}?"}),
        ("empty", lambda one: one | {"answer": "..."}),
        ("stray_markup", lambda one: one | {"answer": f"{one['answer']} <mask>a.png</mask>"}),
        ("refusal", lambda one: one | {"answer": "As an AI language model I do not see it."}),
        ("entity_not_named", lambda one: one | {"answer": "It is grey."}),
        ("hallucinated_organ", lambda one: one | {"answer": f"{one['answer']} It touches the knee."}),
        ("over_long", lambda one: one | {"answer": one["answer"] * 60}),
    ],
)
def test_a_faulty_region_is_caught_by_its_name(
    reason: str, change: Callable[[dict[str, str]], dict[str, str]], images: Inputs, good: Made
) -> None:
    made = walk(mecovqa(), images, region_of(change), good.sources)
    assert made.reasons == {reason: len(good.sources)}
    assert len(made.items) == len(good.items) - len(good.sources)


def test_a_region_on_the_wrong_side_is_caught(images: Inputs, good: Made) -> None:
    sided = {source.id: meta_of(source, tokens=True).splitlines() for source in good.sources}
    firsts = {name: next(line for line in lines if "<region_1>" in line) for name, lines in sided.items()}

    def reply(source: Source, question: Question) -> str:
        line = firsts[source.id]
        side = "right" if "left side of" in line else "left"
        if question.name == "describe" or "side of" not in line:
            return mecovqa_reply(source, question)
        return region_of(lambda one: one | {"answer": f"{one['answer'][:-1]}, on the {side} side of the image."})(
            source, question
        )

    wrong = sum("side of" in line for line in firsts.values())
    assert wrong
    assert walk(mecovqa(), images, reply, good.sources).reasons == {"wrong_laterality": wrong}


def test_the_reasoning_of_a_model_is_no_part_of_its_description(images: Inputs, good: Made) -> None:
    def reply(source: Source, question: Question) -> str:
        text = mecovqa_reply(source, question)
        return f"<think>Is this a knee?</think>\n{text}" if question.name == "describe" else text

    made = walk(mecovqa(), images, reply, good.sources)
    assert not made.reasons
    assert [item.answer for item in made.items] == [item.answer for item in good.items]


def test_a_dialogue_that_is_no_list_is_one_wrong_json(images: Inputs, good: Made) -> None:
    def reply(source: Source, question: Question) -> str:
        return mecovqa_reply(source, question) if question.name == "describe" else "Here you are."

    assert walk(mecovqa(), images, reply, good.sources).reasons == {"wrong_json": len(good.sources)}


def test_our_reader_finds_nothing_wrong_with_the_release(images: Inputs, good: Made, tmp_path: Path) -> None:
    write(mecovqa(), images, good, tmp_path, "test")
    read = 0
    for subset in SUBSETS:
        integrity = Integrity()
        request = ReleaseRequest(dataset="d", split="test", subset=subset)
        for _, sample in READER.read(ReleaseFiles(root=tmp_path, derived=tmp_path), request, integrity):
            integrity.count(sample)
        assert integrity.counts == {}
        assert integrity.defective == 0
        read += integrity.samples
    assert read == len(good.items)
    listing = json.loads((tmp_path / "SAMed2Dv1" / "SAMed2D_v1.json").read_text())
    assert set(listing) == {str(source.facts["image"]) for source in good.sources}


def test_data_files_say_where_they_come_from() -> None:
    folder = Path(mecovqa.__code__.co_filename).parent
    files = {path.stem: read_prompt_file(path) for path in sorted(folder.glob("*.yaml"))}
    assert set(files) == {"authors", "prompts", "review", "templates"}
    assert len(files["templates"].lists["grounding"]) == 10  # as many as the paper has
    assert all("{class}" in one for name in ("templates", "authors") for one in files[name].lists["grounding"])
    assert not set(files["templates"].lists["grounding"]) & set(files["authors"].lists["grounding"])
