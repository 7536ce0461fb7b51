"""Keeps images and volumes as a model reads them while training asks for them again and again."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from torch import Tensor

# Tensors of an image or volume, possibly beside facts that take no memory to speak of.
Prepared = TypeVar("Prepared", bound=tuple[Any, ...])


@dataclass(slots=True)
class PreparedMedia(Generic[Prepared]):
    """A cache of bounded size, of which the oldest are dropped first."""

    _kept: dict[str, Prepared] = field(default_factory=dict)
    _bytes: int = 0

    def of(self, key: str, prepare: Callable[[], Prepared], *, most_bytes: int) -> Prepared:
        """Return what is kept under a key, prepared and kept if nothing is."""
        found = self._kept.get(key)
        if found is None:
            found = prepare()
            size = _size(found)
            while self._kept and self._bytes + size > most_bytes:
                self._bytes -= _size(self._kept.pop(next(iter(self._kept))))
            self._kept[key] = found
            self._bytes += size
        return found


def _size(prepared: tuple[Any, ...]) -> int:
    return sum(part.nbytes for part in prepared if isinstance(part, Tensor))
