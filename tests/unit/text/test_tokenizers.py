"""The named tokenizers."""

import random

import pytest

from harness.text.tokenizers import (
    rouge_tokens,
    tokens_13a,
    tokens_13a_by_character,
    unicode_words,
    without_grounding_tags,
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<p>liver<SEG></p> and <p>left lung<SEG></p>.", "liver and left lung."),
        ("The <p> liver </p> [SEG] is large", "The liver is large"),
        ("  no   tags \n here ", "no tags here"),
        ("<P>liver<seg></P>", "liver"),
        ("p < 0.05", "p < 0.05"),
        ("", ""),
    ],
)
def test_grounding_tags_go_and_their_words_stay(text: str, words: str) -> None:
    assert without_grounding_tags(text) == words


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("It's 3.5 cm, not 1,000.", "It's 3.5 cm , not 1,000 ."),
        ("12-mm well-defined", "12 - mm well-defined"),
        ("(a/b) & c_d &lt;e&gt;", "( a / b ) & c _ d < e >"),
        ("well-\ndefined\nnodule", "welldefined nodule"),
        ("a.b 5.", "a . b 5 ."),
        ("正常。", "正常。"),
        ("", ""),
    ],
)
def test_13a(text: str, tokens: str) -> None:
    assert " ".join(tokens_13a(text)) == tokens


def test_13a_by_character_parts_cjk_text_only() -> None:
    assert " ".join(tokens_13a_by_character("左肺 well-defined正常。")) == "左 肺 well-defined 正 常 。"
    assert tokens_13a_by_character("well-defined, 3 cm") == tokens_13a("well-defined, 3 cm")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Röntgen THORAX, well-defined_edge", "röntgen thorax well defined edge"),
        ("左肺结节 3cm", "左 肺 结 节 3cm"),
        ("ｆｕｌｌ　ｗｉｄｔｈ cm²", "full width cm2"),
        ("soft\u00adhyphen zero\u200dwidth", "softhyphen zerowidth"),
        ("हृदय सामान्य", "हृदय सामान्य"),
        ("Straße ΣΊΣΥΦΟΣ", "strasse σίσυφοσ"),
        ("… — 。", ""),
    ],
)
def test_unicode_words_keep_every_script(text: str, words: str) -> None:
    assert " ".join(unicode_words(text)) == words


def test_unicode_words_of_ascii_text_are_those_of_rouge_score() -> None:
    drawn = random.Random(4)
    for _ in range(200):
        text = "".join(chr(drawn.randrange(9, 127)) for _ in range(40))
        assert unicode_words(text) == rouge_tokens(text)


def test_rouge_tokens_of_other_scripts_are_none() -> None:
    assert rouge_tokens("左肺 正常") == ()


def test_13a_and_rouge_tokens_are_those_of_their_libraries() -> None:
    tokenizer = pytest.importorskip("sacrebleu.tokenizers.tokenizer_13a").Tokenizer13a()
    tokenize = pytest.importorskip("rouge_score.tokenize").tokenize
    drawn = random.Random(5)
    marks = "abzAZ019 .,;:-_'\"()[]{}<>&/\\@#$%^*+=|~!?`\n\t\u00a0\x0bé肺²" + "&lt;&quot;<skipped>"
    for _ in range(500):
        text = "".join(drawn.choices(marks, k=30)).strip()
        assert list(tokens_13a(text)) == tokenizer(text).split()
        assert list(rouge_tokens(text)) == tokenize(text, None)
