"""Entities in a reply's text, for models that hand over none: names wrapped in tags, and tokens that bind masks.

The k-th mask token of a reply, in the order it was written, is the k-th mask the model decoded.

- `mimo`: `<p>name<SEG></p>`; the token stands inside the entity. A `<p>` right after the token closes too, as one
  rendering of the paper prints it.
- `glamm`: `<p> name </p> [SEG]`; the token follows the entity.
- `mimo_or_glamm`: as `glamm` where the reply holds `[SEG]` and no `<SEG>`, else as `mimo`.
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
        name: What stands between its tags, without mask tokens, blanks collapsed; it may be empty.
        span: (start, end) of the name in the reply, without outer blanks.
        masks: Which of the reply's masks it binds: none, one, or several that are meant as one.
    """

    name: str
    span: tuple[int, int]
    masks: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroundedText:
    """A reply after its tags were read.

    Attributes:
        text: The words alone: no tags, blanks collapsed.
        entities: In the order they were opened.
        stray: Masks whose token stands at no entity.
    """

    text: str
    entities: tuple[TextEntity, ...] = ()
    stray: tuple[int, ...] = ()


@dataclass(slots=True)
class _Open:
    """An entity being read: where its content begins and ends, and what it binds so far."""

    start: int
    end: int = -1
    masks: tuple[int, ...] = ()


def parse(text: str, grammar: str) -> GroundedText:
    """Return the words, entities and mask tokens of a reply; no reply is malformed.

    An entity that is not closed ends where the next one opens or the text ends. An entity without a token has no mask,
    and one with several binds them all.

    Raises:
        SpecError: No grammar is called so.
    """
    if grammar == "none":
        return GroundedText(text)
    if grammar == _EITHER:
        return parse(text, _chosen(text))
    if grammar not in _TAGS:
        raise SpecError(f"grammar: expected {', '.join(GRAMMARS)}, got '{grammar}'{nearest(grammar, GRAMMARS)}")
    reader = _Reader(text, follows=grammar == "glamm")
    for tag in _TAGS[grammar].finditer(text):
        reader.read(tag)
    reader.close(len(text))
    words = " ".join(_TAGS[grammar].sub("", text).split())
    entities = tuple(_entity(text, one, _TAGS[grammar]) for one in reader.found)
    return GroundedText(words, entities, tuple(reader.stray))


def _chosen(text: str) -> str:
    """Return the grammar whose mask token the text holds; `mimo` where it holds both or none."""
    tokens = {name: any(tag["mask"] for tag in _TAGS[name].finditer(text)) for name in _TAGS}
    return "glamm" if tokens["glamm"] and not tokens["mimo"] else "mimo"


class _Reader:
    """Reads tags from left to right.

    Attributes:
        found: Entities, in the order they were opened.
        stray: Masks at no entity.
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
        if tag["mask"]:
            self._bind(tag.start())
        elif tag["close"] or self._closes(tag.start()):
            self.close(tag.start())
        else:
            self.close(tag.start())
            self._open = _Open(start=tag.end())
            self.found.append(self._open)
        self._last = tag.end()

    def close(self, place: int) -> None:
        if self._open is not None:
            self._open.end = place
        self._open = None

    def _closes(self, place: int) -> bool:
        """Whether a `<p>` at `place` closes: only blanks stand between it and the open entity's mask token."""
        return self._open is not None and bool(self._open.masks) and self._only_blanks(place)

    def _bind(self, place: int) -> None:
        owner = self._open
        if owner is None and self._follows and self.found and not self._after_stray and self._only_blanks(place):
            owner = self.found[-1]
        if owner is None:
            self.stray.append(self._masks)
        else:
            owner.masks = (*owner.masks, self._masks)
        self._masks += 1

    @property
    def _after_stray(self) -> bool:
        return bool(self.stray) and self.stray[-1] == self._masks - 1

    def _only_blanks(self, place: int) -> bool:
        return not self._text[self._last : place].strip()


def _entity(text: str, found: _Open, tags: re.Pattern[str]) -> TextEntity:
    bare = tags.sub(lambda tag: " " * len(tag[0]), text[found.start : found.end])
    end = found.start + len(bare.rstrip())
    start = min(found.start + len(bare) - len(bare.lstrip()), end)
    return TextEntity(" ".join(bare.split()), (start, end), found.masks)


def fill_entities(prediction: Prediction, grammar: str) -> Prediction:
    """Return the prediction with the entities that its text names; as it is where it has entities or no text.

    An entity whose token has no decoded mask has none. Where one binds several masks, their union takes the place of
    the first and the others are dropped, with their scores; probabilities cannot be united, so none are left then.

    Raises:
        SpecError: No grammar is called so.
        DataError: Masks that are meant as one differ in size.
    """
    from harness.imaging import masks  # readers use the grammar too, and a list of readers loads no numpy

    if prediction.entities or prediction.text is None:
        return prediction
    bound = [(entity, _decoded(entity, prediction)) for entity in parse(prediction.text, grammar).entities]
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


def _decoded(entity: TextEntity, prediction: Prediction) -> tuple[int, ...]:
    return tuple(index for index in entity.masks if index < len(prediction.masks))


def plain_text(text: str, grammar: str) -> str:
    """Return the words of a reply without its tags, which would otherwise be scored as words."""
    return parse(text, grammar).text


def normalise_name(name: str) -> str:
    """Return a name as names are compared: lower case, without punctuation, blanks collapsed.

    The marks ' " , . ; ! ? | : part words, others (a hyphen, brackets) do not: "Lobe,left" is "lobe left", "T1-image"
    is "t1image". Articles, plurals and synonyms stay.
    Source: apple/ml-ferret, eval_flickr_entities.py.
    """
    return " ".join(_MARKS.sub("", _TIGHT_MARKS.sub(r"\1 ", name.lower())).split())
