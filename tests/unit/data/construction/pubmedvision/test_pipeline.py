"""The pipeline `pubmedvision`: what its filters drop, what its checks catch, and the release that it writes."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.construction.pipeline import Inputs
from harness.data.construction.pubmedvision.figures import FEATURES, FILE, candidates
from harness.data.construction.pubmedvision.filters import count_terms, embed, find_repeated, looks_drawn, pack
from harness.data.construction.pubmedvision.pipeline import pubmedvision, scenario_of
from harness.data.construction.records import Question, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.data.releases.vqa.pubmedvision import FILES, READER, SUBSETS
from harness.errors import DataError
from harness.records.request import MediaPart
from tests.support.constructing import Made, pubmedvision_reply, walk, words_of, write


@pytest.fixture(scope="module")
def good(figures: Inputs) -> Made:
    return walk(pubmedvision(), figures, pubmedvision_reply)


def test_each_filter_drops_what_was_planted_for_it(good: Made) -> None:
    assert set(good.reasons) == {"few_medical_terms", "small_image", "not_medical", "repeated_caption"}
    assert Counter(item.kind for item in good.items) == dict.fromkeys(SUBSETS, len(good.asked))
    assert len(good.asked) == len(good.sources) - sum(good.reasons.values())


def test_the_model_sees_images_and_context_in_one_of_ten_scenarios(figures: Inputs, good: Made) -> None:
    seen: list[tuple[Source, Question]] = []

    def reply(source: Source, question: Question) -> str:
        seen.append((source, question))
        return pubmedvision_reply(source, question)

    walk(pubmedvision(), figures, reply, good.sources)
    for source, question in seen:
        shown = [part.media for turn in question.messages for part in turn.parts if isinstance(part, MediaPart)]
        assert shown == list(source.media)
        words = words_of(question)
        assert f"<reference>\n{source.facts['caption']}" in words
        assert ("Here are 2 images" in words) == (len(shown) == 2)
        assert "{" not in words
    assert len({scenario_of(Source(id=str(number))) for number in range(200)}) == 10


Change = Callable[[dict[str, str]], Any]


@pytest.mark.parametrize(
    ("reason", "change", "lost"),
    [
        ("wrong_json", lambda good: json.dumps(good)[:-2], 2),
        ("schema", lambda good: {name: good[name] for name in ("Image_description", "QA-query")}, 2),
        ("refusal", lambda _: "I'm sorry, but I can't assist with that.", 2),
        ("refusal", lambda good: good | {"QA-answer": "I cannot provide a diagnosis."}, 1),
        ("mentions_the_reference", lambda good: good | {"QA-answer": "According to the caption, it is a cyst."}, 1),
        ("mentions_the_reference", lambda good: good | {"Image_description": "Figure 2 shows a liver."}, 1),
        ("empty", lambda good: good | {"Image_description": "-"}, 1),
        ("foreign_language", lambda good: good | {"QA-answer": "这是一个良性的囊肿，不需要治疗。"}, 1),
        ("over_long", lambda good: good | {"QA-answer": "A finding. " * 400}, 1),
        (
            "leaked_answer",
            lambda good: good | {"QA-query": "Why a simple cyst?", "QA-answer": "A simple cyst."},
            1,
        ),
    ],
)
def test_each_planted_fault_is_caught_by_its_name(
    reason: str, change: Change, lost: int, figures: Inputs, good: Made
) -> None:
    first = next(name for name, _ in good.asked)

    def reply(source: Source, question: Question) -> str:
        text = pubmedvision_reply(source, question)
        if source.id != first:
            return text
        changed = change(json.loads(text))
        return changed if isinstance(changed, str) else json.dumps(changed)

    made = walk(pubmedvision(), figures, reply, good.sources)
    assert made.reasons - good.reasons == {reason: 1}
    assert len(made.items) == len(good.items) - lost


def test_our_reader_finds_nothing_wrong_with_the_release(figures: Inputs, good: Made, tmp_path: Path) -> None:
    write(pubmedvision(), figures, good, tmp_path, "train")
    assert READER.splits(tmp_path) == ("train",)
    for subset in SUBSETS:
        integrity = Integrity()
        request = ReleaseRequest(dataset="d", split="train", subset=subset)
        for _, sample in READER.read(ReleaseFiles(root=tmp_path, derived=tmp_path), request, integrity):
            integrity.count(sample)
        assert integrity.counts == {}
        assert (integrity.samples, integrity.defective) == (len(good.asked), 0)


def test_records_that_lack_something_are_reported(tmp_path: Path) -> None:
    path = tmp_path / FILES["alignment"]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{"id": "a", "image": "x.png", "conversations": []}, 3]))
    integrity = Integrity()
    request = ReleaseRequest(dataset="d", split="train", subset="alignment")
    found = [one for _, one in READER.read(ReleaseFiles(root=tmp_path, derived=tmp_path), request, integrity)]
    assert [one.id for one in found] == ["d/train/alignment/a", "d/train/alignment/1"]
    assert all(one.defect == "the record has no question" for one in found)
    assert integrity.counts == {"missing_value": 6}
    with pytest.raises(ReleaseAbsentError, match=r"expected PubMedVision/PubMedVision_Instruct.* found none"):
        list(
            READER.read(
                ReleaseFiles(root=tmp_path, derived=tmp_path),
                ReleaseRequest(dataset="d", split="train", subset="instruction"),
                integrity,
            )
        )


def test_terms_are_words_of_the_lexicon_or_have_its_endings() -> None:
    assert count_terms("Axial CT of the liver shows hepatitis and a haemangioma.") == 5
    assert count_terms("CT, CT and CT") == 1
    assert count_terms("A diagram of the program, with an aroma of basis") == 0


def test_charts_are_white_or_have_few_greys() -> None:
    chart = np.full((40, 40, 3), 255, np.uint8)
    assert looks_drawn(chart) == "100% of it is white, expected at most 55%"
    assert looks_drawn(np.zeros((40, 40, 3), np.uint8)) == "it has 1 grey values, expected at least 24"
    scan = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None] * 5, (40, 40, 3))
    assert looks_drawn(scan) == ""


def test_a_caption_repeats_another_from_a_cosine_of_0_95_on() -> None:
    repeated = find_repeated()
    words = [f"word{number}" for number in range(60)]
    assert repeated("a", embed(" ".join(words))) == ""
    assert repeated("b", embed("something else about the liver")) == ""
    assert repeated("c", embed(" ".join([*words[:-1], "other"]))).startswith(
        "the caption repeats that of a: cosine 0.9"
    )
    assert repeated("d", embed(" ".join(reversed(words)))) == ""
    # What repeats another is not kept, and texts without words repeat nothing.
    assert [repeated(name, embed("")) for name in "ef"] == ["", ""]
    assert find_repeated()("a", embed(" ".join(words))) == ""


def test_embeddings_of_a_model_may_have_any_size() -> None:
    repeated = find_repeated()
    random = np.random.default_rng(0)
    first, second = random.standard_normal((2, 768))
    assert repeated("a", pack(first)) == ""
    assert repeated("b", pack(second)) == ""
    assert "repeats that of a" in repeated("c", pack(first * 9 + 0.05 * second))


def test_verdicts_and_embeddings_of_a_model_take_the_place_of_our_own(tmp_path: Path) -> None:
    folder = tmp_path / "pubmed_figures"
    (folder / "images").mkdir(parents=True)
    for name in ("a", "b"):
        line = {"id": name, "images": [f"images/{name}.png"], "caption": f"Axial CT of {name}."}
        with (tmp_path / FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")
    features = [{"id": "a", "medical": False, "embedding": [1, 2]}, {"id": "b", "medical": True}]
    (tmp_path / FEATURES).write_text("".join(json.dumps(one) + "\n" for one in features))
    inputs = Inputs(root=tmp_path, cache=tmp_path)
    first, second = (candidate.load() for candidate in candidates(inputs))
    assert (first.facts["drawn"], first.facts["embedding"]) == ("the model that was asked says so", pack([1, 2]))
    assert (second.facts["drawn"], second.facts["embedding"]) == ("", embed("Axial CT of b."))
    assert first.facts["fault"] == "pubmed_figures/images/a.png: the image is missing"

    (tmp_path / FEATURES).write_text('{"medical": true}\n')
    with pytest.raises(DataError, match=r'features.jsonl:1: expected \{"id", "medical", "embedding"\}, found KeyError'):
        list(candidates(inputs))
    (tmp_path / FEATURES).unlink()
    (tmp_path / FILE).write_text('{"id": "a", "images": [], "caption": ""}\n')
    with pytest.raises(DataError, match=r"figures.jsonl:1: expected .*found ValueError: `images` needs at least one"):
        list(candidates(inputs))


def test_pairs_of_llava_med_are_figures_too(tmp_path: Path) -> None:
    listing = tmp_path / "llava_med" / "llava_med_alignment_500k.json"
    listing.parent.mkdir()
    turns = [{"from": "human", "value": "<image>\nWhat is it?"}, {"from": "gpt", "value": "Axial CT of the liver."}]
    listing.write_text(json.dumps([{"image": "17_F1", "conversatons": turns}, {"image": ""}]))
    inputs = Inputs(root=tmp_path, cache=tmp_path)
    (source,) = (candidate.load() for candidate in candidates(inputs))
    assert (source.id, source.cluster, source.origin) == ("17_F1-0", "17", "llava_med")
    assert source.facts["caption"] == "Axial CT of the liver."
    assert source.facts["fault"] == "llava_med/images/17_F1.jpg: the image is missing"
