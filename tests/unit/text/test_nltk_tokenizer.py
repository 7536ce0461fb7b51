"""Words as nltk cuts them, with and without the shorter way."""

import random

import pytest
from nltk import word_tokenize

from harness.text.nltk_tokenizer import nltk_words

CHARACTERS = "aAx19  ..,,::;()/%+*?!=--\t\n"
PIECES = [
    "cannot",
    "gonna",
    "wanna",
    "Gotta",
    "cm.",
    "3.5",
    "(a)",
    "a.)",
    ")",
    "...",
    "T2-w",
    "1,000",
    ":",
    "3:1",
    "a,b",
]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ".",
        "No.",
        'He said "no."',
        "the patient's",
        "can't",
        "a 'b'",
        "肺。",
        "3 cm. (x.) )",
        "d'ye",
        "`a`",
        "a,",
    ],
)
def test_words_are_those_of_nltk(text: str) -> None:
    assert nltk_words(text) == word_tokenize(text, preserve_line=True)


def test_random_plain_texts_are_cut_as_nltk_cuts_them() -> None:
    draw = random.Random(4)
    texts = ["".join(draw.choices(CHARACTERS, k=draw.randint(0, 14))) for _ in range(1500)]
    texts += [draw.choice([" ", ""]).join(draw.choices([*PIECES, " ", "."], k=draw.randint(0, 7))) for _ in range(1500)]
    assert [text for text in texts if nltk_words(text) != word_tokenize(text, preserve_line=True)] == []
