"""Checks on the words of an item alone: is there anything, is it an answer, in the right language, of a fair length."""

import re
from collections import Counter
from functools import cache

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.tokens import CJK, count_words, tokens
from harness.data.construction.lexicons import read_lexicon
from harness.text.characters import plain_characters

# Share of letters of other scripts from which a text is in another language. Greek letters are symbols in any language.
MOST_FOREIGN_LETTERS = 0.2
# Share of Chinese characters from which a text is Chinese, whose texts keep names such as CT in Latin letters.
LEAST_CHINESE_LETTERS = 0.3
# Chinese answers of so few words may be all Latin: "CT", "MRI", "B".
MOST_LATIN_WORDS = 3
# Function words of another language from which a text is in that language, if they outnumber the English ones.
LEAST_FOREIGN_WORDS = 2

_MARKUP = re.compile(r"</?\s*(?:image|region|mask|box|point|p|seg)(?:_\d+)?\s*>|\[\s*SEG\s*\]", re.IGNORECASE)
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_CHINESE = re.compile(f"[{CJK}]")
_GREEK = re.compile(r"[\u0370-\u03ff]")


def find_stray_markup(item: CheckedItem, _limits: Limits) -> str | None:
    """Return a tag of a release's markup where none is meant: it would be read as an image, a mask or a region."""
    for name, text, allowed in (("question", item.question, list(item.marks)), ("answer", item.answer, [])):
        for tag in _MARKUP.findall(text):
            if tag.lower() not in allowed:
                return f"the {name} holds {tag}"
            allowed.remove(tag.lower())
    return None


def find_empty(item: CheckedItem, _limits: Limits) -> str | None:
    """Return which of question and answer has no letter and no digit."""
    for name, text in (("question", item.question), ("answer", item.answer)):
        if not any(map(str.isalnum, text)):
            return f"the {name} is empty"
    return None


def find_refusal(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the words with which question or answer declines, or asks for an image."""
    for text in (item.answer, item.question):
        if found := refusal_in(text):
            return f"found {found!r}"
    return None


def refusal_in(text: str) -> str | None:
    """Return the words with which a language model declines; None if it does not."""
    match = _refusals().search(plain_characters(text))
    return None if match is None else match[0]


@cache
def _refusals() -> re.Pattern[str]:
    patterns = read_lexicon("refusals")["patterns"]
    return re.compile("|".join(f"(?:{one})" for language in sorted(patterns) for one in patterns[language]), re.I)


def find_foreign_language(item: CheckedItem, limits: Limits) -> str | None:
    """Return why question or answer is in another language than the dataset's."""
    for name, text in (("question", item.question), ("answer", item.answer)):
        fault = _why_chinese(text) if limits.language == "zh" else _why_english(text)
        if fault is not None:
            return f"the {name} {fault}"
    return None


def _why_english(text: str) -> str | None:
    """Return why a text is not English."""
    letters = [letter for letter in text if letter.isalpha()]
    other = sum(not _LATIN.match(letter) and not _GREEK.match(letter) for letter in letters)
    if letters and other / len(letters) > MOST_FOREIGN_LETTERS:
        return f"has {other} of {len(letters)} letters in another script"
    counts: Counter[str] = Counter(language for token in tokens(text) for language in _languages().get(token, ()))
    english = counts.pop("en", 0)
    likeliest = max(counts, key=lambda language: (counts[language], language), default="en")
    if counts[likeliest] >= LEAST_FOREIGN_WORDS and counts[likeliest] > english:
        return f"has {counts[likeliest]} function words of '{likeliest}' and {english} of English"
    return None


def _why_chinese(text: str) -> str | None:
    """Return why a text is not Chinese."""
    letters = [letter for letter in text if letter.isalpha()]
    chinese = sum(_CHINESE.match(letter) is not None for letter in letters)
    if count_words(text) <= MOST_LATIN_WORDS or not letters or chinese / len(letters) >= LEAST_CHINESE_LETTERS:
        return None
    return f"has {chinese} Chinese characters among {len(letters)} letters"


@cache
def _languages() -> dict[str, tuple[str, ...]]:
    """Return the languages of each function word."""
    found: dict[str, tuple[str, ...]] = {}
    for language, words in read_lexicon("languages")["words"].items():
        for word in words:
            found[word] = (*found.get(word, ()), language)
    return found


def find_over_long(item: CheckedItem, limits: Limits) -> str | None:
    """Return which of question and answer has more words than allowed."""
    for name, text, most in (
        ("question", item.question, limits.question_words),
        ("answer", item.answer, limits.answer_words),
    ):
        if (count := count_words(text)) > most:
            return f"the {name} has {count} words, expected at most {most}"
    return None
