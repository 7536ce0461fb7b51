"""Grounded text: entities that a reply marks with tags, and the tokens that bind them to masks.

This is for models that answer in tagged text and return no `entities`. The k-th mask token of a reply stands for the
k-th mask that the model decoded. The grammars are:

- `mimo`: `<p>name<SEG></p>`; the token is inside the entity. A `<p>` right after the token closes it, too, as one
  rendering of the paper prints it.
- `glamm`: `<p> name </p> [SEG]`; the token follows the entity.
- `mimo_or_glamm`: `glamm` if the reply holds `[SEG]` and no `<SEG>`, else `mimo`.
- `none`: the text holds no entities.

Source: MIMO (CVPR 2025); GLaMM, arXiv:2311.03356.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.errors import SpecError, nearest
from harness.records import PredictedEntity, Prediction

_TAGS: Mapping[str, re.Pattern[str]] = {
    "mimo": re.compile(r"<\s*(?P<close>/)?\s*p\s*>|(?P<mask><\s*SEG\s*>)"),
    "glamm": re.compile(r"<\s*(?P<close>/)?\s*p\s*>|(?P<mask>\[\s*SEG\s*\])"),
}
_EITHER = "mimo_or_glamm"
GRAMMARS = (*_TAGS, _EITHER, "none")

_TIGHT_MARKS = re.compile(r"""\s*(['",.;!?|:])\s*""")
_MARKS = re.compile(r"[^\w\s]")


@dataclass(frozen=True, slots=True)
class TextEntity:
    """A named thing in a reply.

    Attributes:
        name: The text between its tags, without mask tokens and with blanks collapsed; it may be empty.
        span: (start, end) of the name in the reply in characters, half-open, without outer blanks.
        masks: Indices of the reply's masks that it binds: none, one, or several that are meant as one.
    """

    name: str
    span: tuple[int, int]
    masks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroundedText:
    """A parsed reply.

    Attributes:
        text: The words alone, without tags and with blanks collapsed.
        entities: The entities in the order in which they were opened.
        stray: Indices of the masks whose token belongs to no entity.
    """

    text: str
    entities: tuple[TextEntity, ...] = ()
    stray: tuple[int, ...] = ()


@dataclass(slots=True)
class _Open:
    """An entity that is being read: where its content begins and ends, and the masks it binds so far."""

    start: int
    end: int = -1
    masks: tuple[int, ...] = ()


def parse(text: str, grammar: str) -> GroundedText:
    """Return the words, entities and mask tokens of a reply. Any text can be parsed.

    An entity that is not closed ends where the next one opens or where the text ends. An entity without a token has no
    mask, and an entity with several tokens binds them all.

    Args:
        text: The reply.
        grammar: One of GRAMMARS.
    Raises:
        SpecError: There is no such grammar.
    """
    if grammar == "none":
        return GroundedText(text)
    if grammar == _EITHER:
        tokens = {name: any(tag["mask"] for tag in _TAGS[name].finditer(text)) for name in _TAGS}
        return parse(text, "glamm" if tokens["glamm"] and not tokens["mimo"] else "mimo")
    if grammar not in _TAGS:
        raise SpecError(f"grammar: expected {', '.join(GRAMMARS)}, got '{grammar}'{nearest(grammar, GRAMMARS)}")
    reader = _Reader(text, follows=grammar == "glamm")
    for tag in _TAGS[grammar].finditer(text):
        reader.read(tag)
    reader.close(len(text))
    words = " ".join(_TAGS[grammar].sub("", text).split())
    entities = tuple(_entity(text, one, _TAGS[grammar]) for one in reader.found)
    return GroundedText(words, entities, tuple(reader.stray))


class _Reader:
    """Reads tags from left to right.

    Attributes:
        found: The entities in the order in which they were opened.
        stray: Indices of the masks whose token belongs to no entity.
    """

    def __init__(self, text: str, *, follows: bool) -> None:
        self.found: list[_Open] = []
        self.stray: list[int] = []
        self._text = text
        self._follows = follows
        self._open: _Open | None = None
        self._masks = 0
        self._last = 0  # where the last tag ended

    def read(self, tag: re.Match[str]) -> None:
        """Read the next tag: a mask token, or the opening or closing of an entity."""
        # A second `<p>` closes if only blanks separate it from the open entity's mask token.
        bound = self._open is not None and bool(self._open.masks)
        if tag["mask"]:
            self._bind(tag.start())
        elif tag["close"] or (bound and self._only_blanks(tag.start())):
            self.close(tag.start())
        else:
            self.close(tag.start())
            self._open = _Open(start=tag.end())
            self.found.append(self._open)
        self._last = tag.end()

    def close(self, place: int) -> None:
        """End the open entity, if there is one, at the character `place`."""
        if self._open is not None:
            self._open.end = place
        self._open = None

    def _bind(self, place: int) -> None:
        """Give the next mask to the open entity, or in `glamm` to the entity before it; else it is stray."""
        owner = self._open
        # A token behind a stray one follows that token, not the entity before both.
        after_stray = bool(self.stray) and self.stray[-1] == self._masks - 1
        if owner is None and self._follows and self.found and not after_stray and self._only_blanks(place):
            owner = self.found[-1]
        if owner is None:
            self.stray.append(self._masks)
        else:
            owner.masks = (*owner.masks, self._masks)
        self._masks += 1

    def _only_blanks(self, place: int) -> bool:
        return not self._text[self._last : place].strip()


def _entity(text: str, found: _Open, tags: re.Pattern[str]) -> TextEntity:
    # Tags become blanks of the same length, so that positions in the bare text are positions in the reply.
    bare = tags.sub(lambda tag: " " * len(tag[0]), text[found.start : found.end])
    end = found.start + len(bare.rstrip())
    start = min(found.start + len(bare) - len(bare.lstrip()), end)
    return TextEntity(" ".join(bare.split()), (start, end), found.masks)


def fill_entities(prediction: Prediction, grammar: str) -> Prediction:
    """Return the prediction with the entities that its text names.

    A prediction with entities, or without text, is returned as it is. An entity whose token has no decoded mask has no
    mask. If an entity binds several masks, their union takes the place of the first, and the others are dropped with
    their scores; all soft masks are dropped then, since probabilities have no union.

    Args:
        prediction: The prediction.
        grammar: One of GRAMMARS.
    Raises:
        SpecError: There is no such grammar.
        DataError: Masks that are meant as one differ in size.
    """
    # Imported here, because readers use the grammar, too, and listing them must not load numpy.
    from harness.imaging import masks

    if prediction.entities or prediction.text is None:
        return prediction
    count = len(prediction.masks)
    bound = [
        (entity, tuple(index for index in entity.masks if index < count))
        for entity in parse(prediction.text, grammar).entities
    ]
    if not bound:
        return prediction
    merged = {
        indices[0]: masks.merge([prediction.masks[index] for index in indices]) for _, indices in bound if indices
    }
    dropped = {index for _, indices in bound for index in indices[1:]}
    kept = [index for index in range(len(prediction.masks)) if index not in dropped]
    place = {index: new for new, index in enumerate(kept)}
    return replace(
        prediction,
        entities=tuple(
            PredictedEntity(name=entity.name, span=entity.span, mask=place[indices[0]] if indices else None)
            for entity, indices in bound
        ),
        masks=tuple(merged.get(index, prediction.masks[index]) for index in kept),
        mask_scores=tuple(prediction.mask_scores[index] for index in kept) if prediction.mask_scores else (),
        soft_masks=() if dropped else prediction.soft_masks,
    )


def plain_text(text: str, grammar: str) -> str:
    """Return the words of a reply without its tags, which would otherwise be scored as words.

    Raises:
        SpecError: There is no such grammar.
    """
    return parse(text, grammar).text


def normalise_name(name: str) -> str:
    """Return a name in the form in which names are compared: lower case, without punctuation, blanks collapsed.

    The marks ' " , . ; ! ? | : separate words, others (hyphens, brackets) do not: "Lobe,left" becomes "lobe left", and
    "T1-image" becomes "t1image". Articles, plurals and synonyms are kept.
    Source: apple/ml-ferret, eval_flickr_entities.py.
    """
    return " ".join(_MARKS.sub("", _TIGHT_MARKS.sub(r"\1 ", name.lower())).split())
