"""Checks of what an item says about anatomy against the masks of its image and the words that it was made from."""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.tokens import denied, mentions, tokens
from harness.data.construction.lexicons import particles, structures

SIDES = ("left", "right")
_OPPOSITE: Mapping[str, str] = {"left": "right", "right": "left"}
# Most words between a name and the side that a sentence gives it: "The kidney lies near the border on the left side".
_REACH = 10


def without_side(name: str) -> tuple[str, str]:
    """Return a label without its side, and the side: `kidney left` and `left kidney` give (`kidney`, `left`).

    The side is empty if the label has none, or both.
    """
    words = name.replace("_", " ").split()
    found = {word.lower() for word in words} & set(SIDES)
    if len(found) != 1:
        return " ".join(words), ""
    return " ".join(word for word in words if word.lower() not in SIDES), found.pop()


def find_hallucinated_organ(item: CheckedItem, limits: Limits) -> str | None:
    """Return an organ that question or answer names although neither the masks nor the material do.

    A mention that its clause denies is no invention, nor is a part of something shown, nor the whole of a part.
    """
    if not limits.organs_from_material:
        return None
    known = _known(item.present, item.material)
    wholes = {whole for one in known for whole in _parents(one)}
    for text in (item.question, item.answer):
        for mention in mentions(text):
            name = mention.structure.name
            if not (mention.denied or name in known or name in wholes or known & _parents(name)):
                return f"names {' '.join(tokens(text)[mention.start : mention.end])!r}, which nothing shows"
    return None


@lru_cache(maxsize=1024)
def _known(present: Sequence[str], material: str) -> frozenset[str]:
    return frozenset(mention.structure.name for text in (*present, material) for mention in mentions(text))


@lru_cache(maxsize=256)
def _parents(name: str) -> frozenset[str]:
    return frozenset(structures()[name].part_of)


def find_wrong_laterality(item: CheckedItem, _limits: Limits) -> str | None:
    """Return a side on which the item puts a structure that is only on the other."""
    names = tuple({**item.sides, **item.places})
    for text in (item.question, item.answer):
        for name in names:
            for side, known in _stated_sides(text, name, names, item):
                if known and side not in known:
                    return f"says {side} of the {name}, which is on the {_OPPOSITE[side]}"
    return None


def _stated_sides(
    text: str, name: str, names: Sequence[str], item: CheckedItem
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield (side that a text gives a structure, sides that it is on).

    A side in front of the name is part of it, "the left kidney"; one behind it in the same clause is a place, "the
    kidney is on the left".
    """
    found, wanted = tokens(text), tokens(name)
    if not wanted:
        return
    *first, last = wanted
    heads = {tokens(other)[-1] for other in names if tokens(other)} - {last}
    for place in range(len(found) - len(wanted) + 1):
        end = place + len(wanted)
        if list(found[place : end - 1]) != first or found[end - 1] not in (last, f"{last}s", f"{last}es"):
            continue
        if denied(found, place, end):
            continue
        before = place - 1
        while before >= 0 and found[before] in particles("between_side_and_name"):
            before -= 1
        if before >= 0 and found[before] in SIDES:
            yield found[before], item.sides.get(name, frozenset())
        for behind in range(end, min(end + _REACH, len(found))):
            if found[behind] in heads or found[behind] in particles("clause_ends") or found[behind] == "and":
                break
            if found[behind] in SIDES and not _relative(found, behind) and _placed(found, behind):
                yield found[behind], item.places.get(name, frozenset())
                break


def _placed(found: Sequence[str], place: int) -> bool:
    """Return whether the side at a place is where something is, as in "on the left", and not part of a name."""
    before = [token for token in found[max(0, place - 3) : place] if token not in ("the", "patient's", "image's")]
    return bool(before) and before[-1] in particles("before_place")


def _relative(found: Sequence[str], place: int) -> bool:
    """Return whether the side at a place is that of another structure: "to the left of the spleen"."""
    rest = [token for token in found[place + 1 : place + 5] if token != "the"]
    return len(rest) > 1 and rest[0] == "of" and rest[1] not in particles("frames")
