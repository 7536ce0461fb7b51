"""Checks of the masks that an item binds."""

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.text.grounded_text import normalise_name


def find_mask_missing(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the first name whose mask is missing, unreadable or empty."""
    for mask in item.masks:
        if not mask.area:
            return f"the mask of {mask.name!r} is {'missing' if mask.area is None else 'empty'}"
    return None


def find_mask_faulty(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the first mask that is there and cannot be used: full, inverted, of another size than its image."""
    return next((f"the mask of {mask.name!r}: {mask.fault}" for mask in item.masks if mask.fault), None)


def find_mask_of_other_class(item: CheckedItem, _limits: Limits) -> str | None:
    """Return the first mask whose class is not what the item calls it; capital letters and marks do not count."""
    for mask in item.masks:
        if mask.class_name is None:
            return f"the class of the mask of {mask.name!r} is unknown"
        if normalise_name(mask.class_name.replace("_", " ")) != normalise_name(mask.name.replace("_", " ")):
            return f"the mask of {mask.name!r} is one of {mask.class_name!r}"
    return None
