"""Entities in a reply's text: what opens, closes and binds in each grammar, and what is left without a place."""

import numpy as np
import pytest

from harness.errors import DataError, SpecError
from harness.imaging import masks, soft_masks
from harness.records import PredictedEntity, Prediction
from harness.text.grounded_text import fill_entities, normalise_name, parse, plain_text

Found = list[tuple[str, tuple[int, ...]]]


def entities(text: str, grammar: str) -> Found:
    return [(entity.name, entity.masks) for entity in parse(text, grammar).entities]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The image includes <p>liver<SEG></p> and <p> left kidney <SEG> </p>.",
            [("liver", (0,)), ("left kidney", (1,))],
        ),
        ("<p>liver<SEG><p> is large, <p>spleen<SEG><p>", [("liver", (0,)), ("spleen", (1,))]),
        ("<p>liver<p>spleen<SEG></p>", [("liver", ()), ("spleen", (0,))]),
        ("<p>liver<SEG> and <p>spleen<SEG></p>", [("liver and", (0,)), ("spleen", (1,))]),
        ("the <p>left <SEG> lung", [("left lung", (0,))]),
        ("<p>nodules<SEG><SEG></p>", [("nodules", (0, 1))]),
        ("<p><SEG></p>", [("", (0,))]),
        ("< p >liver< SEG >< / p >", [("liver", (0,))]),
        ("</p> nothing <P>here<seg></P>", []),
        ("<p>liver</p> [SEG]", [("liver", ())]),
        ("", []),
    ],
)
def test_mimo_binds_the_mask_token_inside_the_entity(text: str, expected: Found) -> None:
    assert entities(text, "mimo") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p> A liver </p> [SEG] lies below <p> the lung </p> [SEG].", [("A liver", (0,)), ("the lung", (1,))]),
        ("<p> liver </p> and <p> spleen </p> [SEG]", [("liver", ()), ("spleen", (0,))]),
        ("<p> nodules </p> [SEG] [SEG]", [("nodules", (0, 1))]),
        ("<p> liver [SEG] </p>", [("liver", (0,))]),
    ],
)
def test_glamm_binds_the_mask_token_after_the_entity(text: str, expected: Found) -> None:
    assert entities(text, "glamm") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>liver<SEG></p> and <p>spleen<SEG></p>", [("liver", (0,)), ("spleen", (1,))]),
        ("<p> liver </p> [SEG] and <p> spleen </p> [SEG]", [("liver", (0,)), ("spleen", (1,))]),
        ("<p>liver<SEG></p> and <p> spleen </p> [SEG]", [("liver", (0,)), ("spleen", ())]),
        ("<p>liver</p>", [("liver", ())]),
    ],
)
def test_either_grammar_is_read_by_its_mask_token(text: str, expected: Found) -> None:
    assert entities(text, "mimo_or_glamm") == expected
    assert "SEG]" not in plain_text("<p> liver </p> [SEG]", "mimo_or_glamm")


@pytest.mark.parametrize(
    ("text", "grammar", "stray"),
    [
        ("<SEG> the <p>liver<SEG></p> <SEG>", "mimo", (0, 2)),
        ("[SEG] <p> liver </p> is here [SEG] [SEG]", "glamm", (0, 1, 2)),
        ("<p>liver<SEG></p>", "mimo", ()),
    ],
)
def test_a_mask_token_at_no_entity_is_stray(text: str, grammar: str, stray: tuple[int, ...]) -> None:
    assert parse(text, grammar).stray == stray


def test_spans_lie_in_the_reply_as_the_model_wrote_it() -> None:
    text = "The <p> left  lung <SEG></p> and <p><SEG></p>"
    found = parse(text, "mimo").entities
    assert [text[slice(*entity.span)] for entity in found] == ["left  lung", ""]
    assert found[0].name == "left lung"


def test_words_are_left_without_tags() -> None:
    assert plain_text("The <p> liver <SEG> </p> is\nlarge<SEG>.", "mimo") == "The liver is large."
    assert plain_text("<p> A liver </p> [SEG] here", "glamm") == "A liver here"
    assert plain_text("a  <p>b</p>", "none") == "a  <p>b</p>"


def test_without_a_grammar_there_are_no_entities() -> None:
    assert entities("<p>liver<SEG></p>", "none") == []


def test_an_unknown_grammar_is_refused_with_the_nearest() -> None:
    expected = r"^grammar: expected mimo, glamm, mimo_or_glamm, none, got 'glam' \(did you mean 'glamm'\?\)$"
    with pytest.raises(SpecError, match=expected):
        parse("", "glam")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("  Left   Kidney. ", "left kidney"),
        ("lobe ,left", "lobe left"),
        ("T1-weighted (axial)", "t1weighted axial"),
        ("don't", "don t"),
        ("肝，左叶", "肝左叶"),
        ("!", ""),
    ],
)
def test_names_are_normalised_as_by_ferret(name: str, expected: str) -> None:
    assert normalise_name(name) == expected


ONE, TWO, THREE = (masks.encode(np.array([row])) for row in ([1, 0, 0], [0, 1, 0], [0, 0, 1]))


def reply(text: str | None, count: int, *, scores: bool = False) -> Prediction:
    return Prediction(
        key="k",
        status="ok",
        text=text,
        masks=(ONE, TWO, THREE)[:count],
        mask_scores=(0.9, 0.8, 0.7)[:count] if scores else (),
        soft_masks=tuple(soft_masks.encode(np.full((1, 3), 0.5)) for _ in range(count)) if scores else (),
    )


def test_entities_of_the_text_are_bound_to_the_masks() -> None:
    filled = fill_entities(reply("<p>liver<SEG></p>, <p>lung</p>, <p>spleen<SEG></p>", 1), "mimo")
    assert filled.entities == (
        PredictedEntity(name="liver", span=(3, 8), mask=0),
        PredictedEntity(name="lung", span=(22, 26)),
        PredictedEntity(name="spleen", span=(35, 41)),  # its mask was never decoded
    )
    assert filled.masks == (ONE,)


def test_several_masks_of_one_entity_become_their_union() -> None:
    prediction = reply("<SEG> <p>nodules<SEG><SEG></p>", 3, scores=True)
    filled = fill_entities(prediction, "mimo")
    assert filled.masks == (ONE, masks.merge([TWO, THREE]))
    assert [entity.mask for entity in filled.entities] == [1]
    assert (filled.mask_scores, filled.soft_masks) == ((0.9, 0.8), ())


def test_probabilities_stay_where_nothing_is_united() -> None:
    prediction = reply("<p>liver<SEG></p>", 2, scores=True)
    assert fill_entities(prediction, "mimo").soft_masks == prediction.soft_masks


@pytest.mark.parametrize("text", [None, "no tags", "<SEG>"])
def test_a_prediction_without_entities_in_its_text_stays_as_it_is(text: str | None) -> None:
    prediction = reply(text, 1)
    assert fill_entities(prediction, "mimo") is prediction


def test_entities_that_the_model_handed_over_are_kept() -> None:
    given = Prediction(key="k", status="ok", text="<p>liver<SEG></p>", entities=(PredictedEntity(name="x"),))
    assert fill_entities(given, "mimo") is given


def test_masks_of_two_sizes_cannot_be_one() -> None:
    odd = Prediction(key="k", status="ok", text="<p>a<SEG><SEG></p>", masks=(ONE, masks.empty((2, 2))))
    with pytest.raises(DataError, match=r"masks of sizes \(1, 3\) and \(2, 2\) do not fit together"):
        fill_entities(odd, "mimo")
