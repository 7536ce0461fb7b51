"""Normalisation of answers, by named policy. A reply that cannot be read gives None; nothing is ever guessed."""

import json
import re
import unicodedata
from functools import cache
from pathlib import Path

from harness.text.characters import plain_characters

_QUOTE_PAIRS = frozenset({'""', "''", "``", "“”", "‘’", "„“", "«»", "「」", "『』"})
_FINAL_MARKS = ".!?,;:。"  # NFKC maps the other full-width marks to ASCII, but not the ideographic full stop
_IDEOGRAPH = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003fffd"
_IDEOGRAPH_OR_RUN = re.compile(f"[{_IDEOGRAPH}]|[^{_IDEOGRAPH}]+")

_VQA_SYMBOLS = ';/[]"{}()=+\\_-><@`,?!'
_VQA_ANY_SYMBOL = re.compile(f"[{re.escape(_VQA_SYMBOLS)}]")
_VQA_THOUSANDS = re.compile(r"\d,\d")
_VQA_PERIOD = re.compile(r"\.(?!\d)")
_VQA_MOST_PERIODS = 32  # re.UNICODE, which the released code passes as the number of replacements
_VQA_ARTICLES = frozenset({"a", "an", "the"})
_VQA_NUMBERS = {
    "none": "0",
    "zero": "0",
    "one": "1",
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
}


def standard_normalise(text: str) -> str:
    """Return `text` in the form that the protocol `standard` compares.

    Plain characters (NFKC, nothing invisible, ASCII apostrophes and hyphens), casefold, blanks collapsed and trimmed;
    surrounding quotes and final `. ! ? , ; :` are dropped repeatedly. The empty text stays empty.
    """
    # NFKC again after casefold, which may leave characters that are not normalised.
    folded = plain_characters(text).casefold()
    text = " ".join(unicodedata.normalize("NFKC", folded).split())
    while (bare := _without_wrapping(text)) != text:
        text = bare
    return text


def _without_wrapping(text: str) -> str:
    text = text.rstrip(_FINAL_MARKS).strip()
    if len(text) >= 2 and text[0] + text[-1] in _QUOTE_PAIRS:
        text = text[1:-1].strip()
    return text


def words(text: str) -> list[str]:
    """Return the words of the standard-normalised text, each normalised again; a CJK character is one word.

    "Lung, left" gives ["lung", "left"]. Words that consist of dropped marks only are left out; a text without words
    gives [].
    """
    runs = (run for word in standard_normalise(text).split() for run in _IDEOGRAPH_OR_RUN.findall(word))
    return [word for run in runs if (word := standard_normalise(run))]


def vqa_v2_normalise(text: str) -> str:
    """Return `text` in the form that the VQA v2 evaluation compares, including its known quirks.

    Newlines and tabs become blanks, and the ends are trimmed. Then symbols and periods are removed, the rest is
    lower-cased, number words become digits, articles are dropped, and apostrophes of known contractions are restored.

    Source: Goyal et al., arXiv:1612.00837, evaluation code; see `_without_vqa_punctuation` for the quirks.
    """
    return _vqa_words(_without_vqa_punctuation(text.replace("\n", " ").replace("\t", " ").strip()))


def medplib_normalise(text: str) -> str:
    """Return `text` in the form that MedPLIB's released metrics compare (its open-ended metrics apply this twice).

    This is the VQA v2 rule on the lower-cased text without its first step: newlines, tabs and outer blanks stay until
    the text is split. So ",\\n" is not a comma beside a blank, whereas " -" at the start is a hyphen beside one. Commas
    are deleted once more at the end.
    """
    return _vqa_words(_without_vqa_punctuation(text.lower())).replace(",", "")


def _without_vqa_punctuation(text: str) -> str:
    """Apply the punctuation rule of VQA v2.

    A symbol that has a blank beside it anywhere in the text is deleted, any other becomes a blank. If the text holds
    digit-comma-digit, all symbols are deleted. Then the first 32 periods that are not followed by a digit are deleted.
    """
    without = text
    # Which of the 22 symbols occur at all: most answers are bare words.
    symbols = set(_VQA_ANY_SYMBOL.findall(text))
    thousands = "," in symbols and _VQA_THOUSANDS.search(text) is not None
    for symbol in symbols:
        delete = thousands or f"{symbol} " in text or f" {symbol}" in text
        without = without.replace(symbol, "" if delete else " ")
    return _VQA_PERIOD.sub("", without, count=_VQA_MOST_PERIODS)


def _vqa_words(text: str) -> str:
    numbered = (_VQA_NUMBERS.get(word, word) for word in text.lower().split())
    contractions = _vqa_contractions()
    return " ".join(contractions.get(word, word) for word in numbered if word not in _VQA_ARTICLES)


@cache
def _vqa_contractions() -> dict[str, str]:
    path = Path(__file__).parent / "protocol_data" / "vqa_v2_contractions.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    words: list[str] = data["restored"]
    # Any one apostrophe may be missing. Entries that the released table spells in its own way come last and win.
    table = {word[:at] + word[at + 1 :]: word for word in words for at, letter in enumerate(word) if letter == "'"}
    return {**table, **data["as_released"]}
