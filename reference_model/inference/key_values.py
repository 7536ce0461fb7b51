"""Keys and values of the positions before, in memory that is there before they come.

Shape suffixes: B rows, N heads of keys and values, K positions, T positions of one pass, H width of a head.
"""

from collections.abc import Sequence

from torch import Tensor

# Positions for which room is made at once. The cache of transformers makes none: it copies itself for every token.
BLOCK = 32

# Keys and values of one layer, floating point (B, N, K, H) each.
Layer = tuple[Tensor, Tensor]


class KeyValues:
    """The keys and values of all layers; a pass appends its own."""

    def __init__(self) -> None:
        self._layers: list[Layer] = []
        self._lengths: list[int] = []

    @classmethod
    def of(cls, rows: Sequence[Sequence[Layer]], *, room: int) -> "KeyValues":
        """Return the keys and values of rows that were read apart.

        Args:
            rows: For each row its layers, with B = 1 and one K.
            room: Positions that the passes to come are expected to append.
        """
        made = cls()
        for of_rows in zip(*rows, strict=True):
            first = of_rows[0][0]
            made._lengths.append(first.shape[2])
            shape = len(rows), first.shape[1], first.shape[2] + room, first.shape[3]
            both = first.new_empty(shape), first.new_empty(shape)
            for index, parts in enumerate(of_rows):
                for whole, part in zip(both, parts, strict=True):
                    whole[index, :, : first.shape[2]] = part[0]
            made._layers.append(both)
        return made

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, /) -> Layer:
        """Append keys and values, (B, N, T, H) each, of a layer, and return all that it has."""
        if layer_idx == len(self._layers):
            self._layers.append((keys[:, :, :0], values[:, :, :0]))
            self._lengths.append(0)
        begin = self._lengths[layer_idx]
        end = self._lengths[layer_idx] = begin + keys.shape[2]
        if end > self._layers[layer_idx][0].shape[2]:
            old_keys, old_values = self._layers[layer_idx]
            self._layers[layer_idx] = _longer(old_keys, end + BLOCK, begin), _longer(old_values, end + BLOCK, begin)
        whole_keys, whole_values = self._layers[layer_idx]
        whole_keys[:, :, begin:end] = keys
        whole_values[:, :, begin:end] = values
        return whole_keys[:, :, :end], whole_values[:, :, :end]

    def layers(self) -> tuple[Layer, ...]:
        """Return the keys and values of every layer."""
        return tuple(
            (keys[:, :, :length], values[:, :, :length])
            for (keys, values), length in zip(self._layers, self._lengths, strict=True)
        )


def _longer(old: Tensor, length: int, kept: int) -> Tensor:
    new = old.new_empty((*old.shape[:2], length, old.shape[3]))
    new[:, :, :kept] = old[:, :, :kept]
    return new
