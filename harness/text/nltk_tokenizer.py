"""Words of a text as nltk's `word_tokenize(text, preserve_line=True)` cuts them, each piece between blanks once.

nltk runs thirty substitutions over the whole text. In plain report text none of them reaches across a blank, except for
the full stop at the very end; so nltk cuts the pieces one by one, and they are remembered. A text with anything else in
it, a quotation mark or an apostrophe above all, goes to nltk as a whole.
"""

import re
from functools import lru_cache
from typing import Any

# Without quotes and apostrophes, whose rules depend on their neighbours, and without letters beyond ASCII.
_PLAIN = re.compile(r"[A-Za-z0-9 \t\n.,:;()/%+*?!=-]*")
# At the end of a text nltk takes the full stop off the word before such a piece: `cm. )` ends in `cm`, `.`, `)`.
_ONLY_CLOSING = re.compile(r"\)+")


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
    """Return the words of a piece between others."""
    # The neighbours keep nltk's rules for the ends of a text away from the piece.
    return tuple(_tokenizer().tokenize(f"x {piece} x")[1:-1])


@lru_cache(maxsize=1 << 14)
def _at_the_end(piece: str) -> tuple[str, ...]:
    """Return the words of the last piece, whose full stop is a word of its own."""
    return tuple(_tokenizer().tokenize(f"x {piece}")[1:])


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    return NLTKWordTokenizer()
