"""Keys and values of rows, kept in room that grows."""

import torch
from torch import Tensor
from transformers import DynamicCache

from reference_model.inference.key_values import BLOCK, KeyValues


def pair(rows: int, length: int) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, 2, length, 4), torch.randn(rows, 2, length, 4)


def test_it_returns_what_the_cache_of_transformers_returns() -> None:
    ours, theirs = KeyValues(), DynamicCache()
    for length in (3, 1, BLOCK, 1, 2 * BLOCK):
        for layer in range(2):
            keys, values = pair(2, length)
            for found, expected in zip(
                ours.update(keys, values, layer), theirs.update(keys, values, layer), strict=True
            ):
                assert torch.equal(found, expected)
    assert [keys.shape[2] for keys, _ in ours.layers()] == [4 + 3 * BLOCK + 1] * 2


def test_room_is_made_once_for_a_block_of_positions() -> None:
    cache = KeyValues()
    places = {cache.update(*pair(1, 1), 0)[0].data_ptr() for _ in range(BLOCK + 1)}
    assert len(places) == 1


def test_rows_that_were_read_apart_go_on_together() -> None:
    rows = [[pair(1, 5), pair(1, 5)] for _ in range(3)]
    cache = KeyValues.of(rows, room=2)
    new = pair(3, 2)
    for layer in range(2):
        found = cache.update(*new, layer)
        for kind in range(2):
            expected = torch.cat([torch.cat([row[layer][kind] for row in rows]), new[kind]], dim=2)
            assert torch.equal(found[kind], expected)
