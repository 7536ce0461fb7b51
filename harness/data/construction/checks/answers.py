"""Checks on how question, options and answer fit together."""

import re

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.tokens import contains, tokens
from harness.data.construction.lexicons import particles, structures_by_words
from harness.text.normalisers import standard_normalise

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def find_answer_not_in_options(item: CheckedItem, _limits: Limits) -> str | None:
    """Return why the options do not hold the answer once, or the letter names another option."""
    if not item.options:
        return f"found the letter {item.choice!r} and no options" if item.choice else None
    options = [standard_normalise(option) for option in item.options]
    repeated = next((one for place, one in enumerate(options) if one in options[:place]), None)
    if repeated is not None:
        return f"the option {repeated!r} occurs twice"
    answer = standard_normalise(item.answer)
    if answer not in options:
        return f"found {item.answer[:60]!r}, expected one of {', '.join(item.options)}"[:200]
    right = LETTERS[options.index(answer)]
    if item.choice and item.choice.upper() != right:
        return f"the letter is {item.choice!r}, the answer is option {right}"
    return None


def find_leaked_answer(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the answer, or the name that is asked for, if the question says it."""
    for name in item.hidden:
        for spelling in (name, *_other_names(name)):
            if contains(item.question, spelling):
                return f"the question says {spelling!r}, which it asks for"
    if item.options:
        said = [option for option in item.options if contains(item.question, option)]
        # A question that repeats several of its options gives none of them away.
        leaked = len(said) == 1 and standard_normalise(said[0]) == standard_normalise(item.answer)
        small = standard_normalise(item.answer) in particles("said_by_accident")
        return f"the question says {item.answer[:60]!r}, and no other option" if leaked and not small else None
    words = [token for token in tokens(item.answer) if token[0].isalnum()]
    core = _without_articles(words)
    if not core or all(word in particles("said_by_accident") for word in core):
        return None
    asked = [token for token in tokens(item.question) if token[0].isalnum() or token in ",/"]
    # Its answer may well repeat the words of a question that is answered by yes or no.
    if asked and asked[0] in particles("polar"):
        return None
    bare = _without_articles(asked)
    for place in range(len(bare) - len(core) + 1):
        if bare[place : place + len(core)] == core and not _is_alternative(bare, place, place + len(core)):
            return f"the question says {' '.join(core)!r}"
    return None


def _without_articles(words: list[str]) -> list[str]:
    return [word for word in words if word not in particles("articles")]


def _is_alternative(words: list[str], start: int, end: int) -> bool:
    """Return whether words[start:end] is one of several things that a question offers: "benign or malignant"."""
    near = [*words[max(0, start - 2) : start], *words[end : end + 2]]
    return any(word in particles("alternatives") for word in near)


def _other_names(name: str) -> tuple[str, ...]:
    """Return the other names of a structure, if the name is that of a structure alone and not of a lesion in it."""
    words = tuple(word for word in tokens(name) if word not in particles("sides"))
    known = structures_by_words().get(words)
    if known is None:
        return ()
    return tuple(word for word in (*known[0].words, *known[0].adjectives) if word != name.lower())


def find_entity_not_named(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the first name that the answer should say and does not; a name without a side is one of either side."""
    sides = ("left", "right")
    sideless = " ".join(word for word in tokens(item.answer) if word not in sides)
    for name in item.named:
        # "rib left 9" says "rib 9".
        if not contains(item.answer if set(sides) & set(tokens(name)) else sideless, name):
            return f"the answer does not say {name!r}"
    return None


def letter_of(answer: str, options: tuple[str, ...]) -> str:
    """Return the letter of the option that an answer is, spelt in full or as a letter; empty if it is none of them."""
    wanted = standard_normalise(answer)
    for letter, option in zip(LETTERS, options, strict=False):
        if standard_normalise(option) == wanted:
            return letter
    match = re.fullmatch(r"\(?([a-z])\)?[.:)]?(?:\s+(.*))?", answer.strip(), re.I | re.S)
    if match and match[1].upper() in LETTERS[: len(options)]:
        letter = match[1].upper()
        if not match[2] or standard_normalise(match[2]) == standard_normalise(options[LETTERS.index(letter)]):
            return letter
    return ""
