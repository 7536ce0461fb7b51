"""The Penn Treebank tokens of the COCO caption metrics, for sentences as reports and captions hold them, without Java.

pycocoevalcap cuts texts with a Java program, lower-cases the tokens and drops punctuation. This module does that for
words, numbers, units, contractions, quotes, brackets, grounding tags and the abbreviations listed below; it was written
against the program's output for such sentences. The program serves as a check (`harness metric bleu --protocol mimo
--check`) and is not used where it happens to be installed: a number must not depend on whether a machine has Java.

Not covered, and cut more simply here: web and mail addresses, telephone numbers, file names, smileys, currencies,
abbreviations of places and companies, and marks that only HTML has. Outside Latin text the two also differ in
- combining marks, which belong to a word there and are cut off here (Devanagari, vowelled Arabic, decomposed accents);
- the Arabic decimal separator (U+066B), which stays within a number there and is a token here;
- the full stop behind a single letter that is not of A-Z, which is kept here (`é.`) and dropped there;
- joiners (U+200C, U+200D) and soft hyphens, which vanish there and are tokens here.
"""

import re
from functools import lru_cache

# Tokens that pycocoevalcap drops (ptbtokenizer.py). It lists brackets too, but in capitals, and compares with tokens in
# lower case, so `-lrb-` stays.
REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

_REPORT_WORDS = "al co col ct dept det dr est etc ext ft gen inc lt mr mrs ms mt oct prof rev rt sq st vs"
_MONTHS_AND_DAYS = "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat"
# Words of reports that keep their full stop wherever they occur; `CT.` is one of them, because the program takes it for
# the state. So do single letters and letters with stops between them (`e.g.`, `i.v.`).
ABBREVIATIONS = frozenset(f"{_REPORT_WORDS} {_MONTHS_AND_DAYS}".split())
# Words that keep it only with a capital: Pennsylvania, Louisiana, Massachusetts, Illinois.
CAPITAL_ABBREVIATIONS = frozenset(["pa", "la", "mass", "ill"])
# Words that keep it only before a number.
BEFORE_NUMBERS = frozenset(["art", "ca", "fig", "figs", "no", "nos", "op", "pp"])
_OPENING_WORDS = "a an as at but he here however if in it no one she so such that the then there these this we"
# Words that, with a capital, begin a sentence, so that the single letter before them does not keep its stop.
NEW_SENTENCE = frozenset(_OPENING_WORDS.split())

_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DIVIDED = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "wanna": ("wan", "na"), "gotta": ("got", "ta")}
_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
# The marks of the Penn Treebank. A straight quotation mark is written as a closing one; both are removed anyway.
_QUOTES = str.maketrans({"\u2018": "`", "\u2019": "'", "\u201c": "``", "\u201d": "''", '"': "''"})

# The first alternative that matches wins, so dates, fractions and initials come before words, which would cut them up.
# Emoji and other characters beyond the Basic Multilingual Plane match nothing and vanish, as in the program.
_TOKEN = re.compile(
    r"""
      (?P<tag></?[A-Za-z]\w*\s*/?>)
    | (?P<ellipsis>\.{3,}|\u2026)
    | (?P<dash>-{2,}|[\u2013\u2014])
    | (?P<fraction>[½¼¾⅓⅔]|(?:\d+\ )?\d{1,4}/\d{1,4}(?![\w/]))
    | (?P<date>\d{1,2}[-/]\d{1,2}[-/]\d{2,4})
    | (?P<initials>[A-Z](?:\.[A-Z])+\.)
    | (?P<negation>n['\u2019]t\b)
    | (?P<ending>['\u2019](?:s|m|d|re|ve|ll)(?![\w]))
    | (?P<number>(?:(?<![\w.])[-+])?(?:\d+(?:[.,:]\d+)+|[.,:]\d+)(?:-[^\W_]+)*|(?<![\w.])[-+]\d+(?![\w-]))
    | (?P<word>[^\W_]+(?:[-_/][^\W_]+)*)
    | (?P<bracket>[()\[\]{}])
    | (?P<marks>[?!]+|['\u2018\u2019\u201c\u201d"`]|[^\s\U00010000-\U0010ffff])
    """,
    re.VERBOSE | re.IGNORECASE,
)
# Words of two and more letters with a blank after each, which no other alternative of `_TOKEN` could begin.
_PLAIN_WORDS = re.compile(r"(?:\s*[A-Za-z]{2,}(?=\s))+")
# Split by a blank before the words are cut, because a word would take the letters along: `is n't`, `3.5 cm`.
_NOT = re.compile(r"([^\W\d_]+)(n['\u2019]t)\b", re.IGNORECASE)
_DECIMAL_WITH_UNIT = re.compile(r"(?<![\w-])(\d*[.,]\d+)([^\W\d_]+)")
_POWER = re.compile(r"(?<=[^\W_])([²³¹])")


# CIDEr reads every answer twice, first to count and then to score; 32,768 reports are some 40 MB.
@lru_cache(maxsize=1 << 15)
def caption_line(text: str) -> str:
    """Return the tokens of `text` as pycocoevalcap's PTBTokenizer writes them: lower case, joined by one blank.

    A token may hold a no-break space ("1 1/2"): COCO's BLEU and CIDEr split there (`str.split()`), its ROUGE does not
    (`split(" ")`). No token: the empty string.
    """
    return " ".join(token for token in map(str.lower, _tokens(text)) if token not in REMOVED)


def _tokens(text: str) -> list[str]:
    for glued in (_NOT, _DECIMAL_WITH_UNIT):
        text = glued.sub(r"\1 \2", text)
    text = _POWER.sub(r" \1", text)
    found: list[str] = []
    place = 0
    # Not `finditer`: an abbreviation takes its full stop along, so the next search begins behind that.
    while True:
        # Most of a report: several times as fast as the alternatives of `_TOKEN`, tried for each word.
        if (run := _PLAIN_WORDS.match(text, place)) is not None:
            for word in run[0].split():
                found += _DIVIDED.get(word.lower(), (word,))
            place = run.end()
        if (match := _TOKEN.search(text, place)) is None:
            return found
        tokens, place = _written(match, text)
        found += tokens


def _written(match: re.Match[str], text: str) -> tuple[tuple[str, ...], int]:
    """Return the tokens of a match, as the program writes them, and the place where the match ends."""
    kind, token, end = match.lastgroup, match[0], match.end()
    if kind == "ellipsis":
        return ("...",), end
    if kind == "dash":
        return ("--",), end
    if kind == "fraction":
        # "1 1/2" is one token to the program, joined by a no-break space.
        return (_FRACTIONS.get(token, token.replace(" ", "\u00a0")),), end
    if kind == "bracket":
        return (_BRACKETS[token],), end
    if kind == "word" and text.startswith(".", end) and _keeps_stop(token, text[end + 1 :]):
        return (f"{token}.",), end + 1
    if kind == "word":
        return _DIVIDED.get(token.lower(), (token,)), end
    return (token.translate(_QUOTES),), end


def _keeps_stop(word: str, after: str) -> bool:
    """Return whether a word keeps the full stop between it and `after`."""
    lower = word.lower()
    if len(word) == 1 and word.isalpha():
        following = re.match(r"\s+([A-Z]\w*)", after)
        return following is None or following[1].lower() not in NEW_SENTENCE
    if lower in BEFORE_NUMBERS:
        return re.match(r"\s?\d", after) is not None
    return lower in ABBREVIATIONS or (lower in CAPITAL_ABBREVIATIONS and word[0].isupper())
