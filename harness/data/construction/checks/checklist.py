"""The checks by name, as steps of a pipeline; the first that an item fails is the reason that counts."""

import hashlib
from collections.abc import Callable, Collection, Mapping
from typing import Final

from harness.data.construction.checks.anatomy import find_hallucinated_organ, find_wrong_laterality
from harness.data.construction.checks.answers import (
    find_answer_not_in_options,
    find_entity_not_named,
    find_leaked_answer,
)
from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.masks import find_mask_faulty, find_mask_missing, find_mask_of_other_class
from harness.data.construction.checks.wording import (
    find_empty,
    find_foreign_language,
    find_over_long,
    find_refusal,
    find_stray_markup,
)
from harness.data.construction.pipeline import Check
from harness.data.construction.records import Item
from harness.errors import SpecError, nearest
from harness.text.normalisers import standard_normalise

Fault = Callable[[CheckedItem, Limits], str | None]
View = Callable[[Item], CheckedItem]

# Reasons for which `checks.replies` rejects a reply before there is an item.
REPLY_CHECKS: Final[Mapping[str, str]] = {
    "wrong_json": "the reply holds JSON of the wanted kind",
    "schema": "the JSON has every key, with a value of its type",
}
# Checks of one item. What says most about the cause comes first: a refusal is also in no option.
ITEM_CHECKS: Final[Mapping[str, tuple[str, Fault]]] = {
    "empty": ("Question and answer hold words.", find_empty),
    "stray_markup": ("No tag of the release is where none is meant.", find_stray_markup),
    "refusal": ("The model does not decline.", find_refusal),
    "foreign_language": ("Question and answer are in the language of the dataset.", find_foreign_language),
    "over_long": ("Question and answer have at most so many words.", find_over_long),
    "answer_not_in_options": ("The answer is one of the options, and they differ.", find_answer_not_in_options),
    "leaked_answer": ("The question does not say its answer.", find_leaked_answer),
    "mask_missing": ("Every mask is there and has a pixel.", find_mask_missing),
    "mask_faulty": ("No mask is full, inverted or of another size than its image.", find_mask_faulty),
    "mask_of_other_class": ("Every mask is of the class that it is called.", find_mask_of_other_class),
    "hallucinated_organ": ("No organ is named that nothing shows.", find_hallucinated_organ),
    "wrong_laterality": ("Left and right are as in the masks.", find_wrong_laterality),
    "entity_not_named": ("The answer names what its masks show.", find_entity_not_named),
}
DUPLICATE: Final = "duplicate"
# The word lists that the checks read with: another version of one may reject other items.
LEXICONS: Final = ("anatomy", "languages", "particles", "refusals")


def item_checks(view: View, limits: Limits, *, without: Collection[str] = ()) -> tuple[Check, ...]:
    """Return the checks of items as steps of a pipeline, in their order, and last the one for duplicates.

    Args:
        view: Returns what the checks need to know of an item; called once per item.
        limits: What the items are held to.
        without: Names of the checks that do not suit the pipeline.
    Raises:
        SpecError: There is no check of a name in `without`.
    """
    for name in without:
        if name not in ITEM_CHECKS and name != DUPLICATE:
            known = (*ITEM_CHECKS, DUPLICATE)
            raise SpecError(f"checks: expected one of {', '.join(known)}, found '{name}'{nearest(name, known)}")
    seen = _once(view)
    steps = [
        Check(name=name, about=about, begin=_stateless(fault, seen, limits))
        for name, (about, fault) in ITEM_CHECKS.items()
        if name not in without
    ]
    if DUPLICATE not in without:
        about = "No question is asked twice of one image and visual prompt."
        steps.append(Check(name=DUPLICATE, about=about, begin=lambda: _duplicates(seen)))
    return tuple(steps)


def _once(view: View) -> View:
    """Return the view with a memory of one item, because all checks of an item follow each other."""
    last: list[tuple[Item, CheckedItem]] = []

    def seen(item: Item) -> CheckedItem:
        if not last or last[0][0] is not item:
            last[:] = [(item, view(item))]
        return last[0][1]

    return seen


def _stateless(fault: Fault, view: View, limits: Limits) -> Callable[[], Callable[[Item], str]]:
    return lambda: lambda item: fault(view(item), limits) or ""


def _duplicates(view: View) -> Callable[[Item], str]:
    # A digest of 16 bytes per item: a million of them take less than 100 MB.
    asked: set[bytes] = set()

    def fault(item: Item) -> str:
        checked = view(item)
        parts = (checked.image_sha256 or checked.image, checked.visual_prompt, standard_normalise(checked.question))
        # Each part is preceded by its length, so that no two questions are spelt alike.
        spelt = "".join(f"{len(part)}:{part}" for part in parts).encode()
        found = hashlib.blake2b(spelt, digest_size=16).digest()
        if found in asked:
            return f"asked before of this image: {checked.question[:60]!r}"
        asked.add(found)
        return ""

    return fault
