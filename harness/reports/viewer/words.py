"""Texts in pieces: entities that a text grounds in masks get the colours of the masks, tags of a grammar are marked."""

import re
from collections.abc import Iterable, Sequence

from harness.reports.viewer.records import BRIEF, MOST_CHARACTERS, Piece, Words

# The tags of all grammars of `harness.text.grounded_text`.
TAGS = re.compile(r"<\s*/?\s*p\s*>|<\s*SEG\s*>|\[\s*SEG\s*\]")

Span = tuple[int, int, str]  # start, end and classes of an entity in a text


def words_of(text: str, spans: Sequence[Span] = (), *, tagged: bool = False) -> Words:
    """Return a text in pieces.

    Args:
        text: As the model wrote it.
        spans: Of entities, half-open, in any order; of two that overlap the first counts, and what reaches beyond the
            text is left out.
        tagged: The text follows a grammar with tags.
    """
    kept = text[:MOST_CHARACTERS]
    pieces = list(_pieces(kept, spans, tagged))
    shown, rest, count = [], [], 0
    for piece in pieces:
        # Cut within a piece, because most texts are a single one.
        head = piece.text[: max(0, BRIEF - count)] if len(kept) > BRIEF else piece.text
        if head:
            shown.append(Piece(head, piece.kind, piece.classes))
        if tail := piece.text[len(head) :]:
            rest.append(Piece(tail, piece.kind, piece.classes))
        count += len(piece.text)
    return Words(pieces=tuple(shown), rest=tuple(rest), cut=len(text) - len(kept))


def _pieces(text: str, spans: Sequence[Span], tagged: bool) -> Iterable[Piece]:
    place = 0
    for start, end, classes in sorted(spans):
        if start < place or not start < end <= len(text):
            continue
        yield from _plain(text[place:start], tagged)
        yield Piece(text[start:end], "entity", classes)
        place = end
    yield from _plain(text[place:], tagged)


def _plain(text: str, tagged: bool) -> Iterable[Piece]:
    place = 0
    for tag in TAGS.finditer(text) if tagged else ():
        if tag.start() > place:
            yield Piece(text[place : tag.start()])
        yield Piece(tag[0], "tag")
        place = tag.end()
    if text[place:]:
        yield Piece(text[place:])
