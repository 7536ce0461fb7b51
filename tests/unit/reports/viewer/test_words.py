"""Texts in pieces: coloured entities, tags, and cuts."""

from harness.reports.viewer.records import BRIEF, MOST_CHARACTERS, Piece
from harness.reports.viewer.words import words_of


def test_entities_get_their_classes_and_tags_are_apart() -> None:
    text = "the <p>left lung<SEG></p> is clear"
    words = words_of(text, [(7, 16, "prediction e1")], tagged=True)
    assert words.pieces == (
        Piece("the "),
        Piece("<p>", "tag"),
        Piece("left lung", "entity", "prediction e1"),
        Piece("<SEG>", "tag"),
        Piece("</p>", "tag"),
        Piece(" is clear"),
    )


def test_tags_of_a_task_without_a_grammar_are_words() -> None:
    assert words_of("a <p> b").pieces == (Piece("a <p> b"),)


def test_spans_that_overlap_or_leave_the_text_are_passed_over() -> None:
    spans = [(0, 3, "a"), (2, 5, "b"), (4, 99, "c"), (6, 6, "d"), (-2, 1, "e")]
    assert words_of("abcdefgh", spans).pieces == (Piece("abc", "entity", "a"), Piece("defgh"))


def test_a_long_text_is_cut_twice() -> None:
    words = words_of("x" * 10_000)
    assert [len(piece.text) for piece in (*words.pieces, *words.rest)] == [BRIEF, MOST_CHARACTERS - BRIEF]
    assert words.cut == 10_000 - MOST_CHARACTERS
    assert not words_of("")
