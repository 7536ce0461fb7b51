"""Words of a text as nltk's `word_tokenize(text, preserve_line=True)` cuts them, each piece between blanks once.

nltk runs thirty substitutions over the whole text. In plain report text none of them looks across a blank, the full
stop at the very end aside; so pieces are cut one by one, by nltk, and remembered. A text with anything else in it, a
quotation mark or an apostrophe first of all, goes to nltk as a whole.
"""

import re
from functools import lru_cache
from typing import Any

_PLAIN = re.compile(r"[A-Za-z0-9 \t\n.,:;()/%+*?!=-]*")
_ONLY_CLOSING = re.compile(r"\)+")  # nltk takes a stop off the word before such a piece at the end


def nltk_words(text: str) -> list[str]:
    """Return the words and marks of `text`, unaltered in case; [] for a blank text."""
    pieces = text.split()
    if not _PLAIN.fullmatch(text) or (pieces and _ONLY_CLOSING.fullmatch(pieces[-1])):
        found: list[str] = _tokenizer().tokenize(text)
        return found
    words = [word for piece in pieces[:-1] for word in _inside(piece)]
    return [*words, *_at_the_end(pieces[-1])] if pieces else []


@lru_cache(maxsize=1 << 16)
def _inside(piece: str) -> tuple[str, ...]:
    """Return the words of a piece that others stand around."""
    return tuple(_tokenizer().tokenize(f"x {piece} x")[1:-1])


@lru_cache(maxsize=1 << 14)
def _at_the_end(piece: str) -> tuple[str, ...]:
    """Return the words of the last piece, whose full stop is a word of its own."""
    return tuple(_tokenizer().tokenize(f"x {piece}")[1:])


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
