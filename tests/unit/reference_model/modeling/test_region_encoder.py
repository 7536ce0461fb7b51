"""Image features inside a region become one vector."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reference_model.modeling.region_encoder import RegionEncoder, sample_mean, thinned

CELLS = 24


def coordinates() -> Tensor:
    """Return a map whose two channels are row and column."""
    axis = torch.arange(float(CELLS))
    return torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None]


def rectangle(y0: int, x0: int, y1: int, x1: int) -> Tensor:
    grid = torch.zeros((1, CELLS, CELLS), dtype=torch.bool)
    grid[:, y0:y1, x0:x1] = True
    return grid


def encoder(width: int = 5, points: int = 512) -> RegionEncoder:
    return RegionEncoder(adapter=nn.Linear(2, width), points=points, alignment="corner").eval()


def test_sampling_is_the_released_one(golden: dict[str, Any]) -> None:
    for case in golden["region_feature"]["cases"]:
        found = sample_mean(coordinates(), rectangle(*case["rect_y0x0y1x1"]))
        drawn = "drawn at random" in case["note"]
        torch.testing.assert_close(found, torch.tensor(case["feature"]), atol=0.2 if drawn else 1e-6, rtol=0)


def test_every_cell_is_read_at_its_corner_in_the_unit_square() -> None:
    found = sample_mean(coordinates(), rectangle(0, 0, CELLS, CELLS))
    torch.testing.assert_close(found, torch.full((1, 2), 11.5 * 23 / 24))


def test_centred_alignment_reads_the_cell_itself() -> None:
    found = sample_mean(coordinates(), rectangle(12, 6, 13, 7), alignment="centre")
    assert found.tolist() == [[12.0, 6.0]]


def test_linear_then_mean_is_mean_then_linear() -> None:
    grid = torch.rand(3, CELLS, CELLS) > 0.7
    features = torch.randn(1, CELLS * CELLS, 2)
    built = encoder()
    adapted = built.adapter(features).transpose(1, 2).reshape(1, -1, CELLS, CELLS).expand(3, -1, -1, -1)
    found = built(features, grid, torch.zeros(3, dtype=torch.long))
    torch.testing.assert_close(found, sample_mean(adapted, grid), atol=1e-5, rtol=1e-5)


def test_an_empty_region_is_zeros_not_nan_and_not_the_bias() -> None:
    found = encoder()(torch.randn(1, CELLS**2, 2), torch.zeros(1, CELLS, CELLS, dtype=torch.bool), torch.tensor([0]))
    assert found.abs().max() == 0


def test_each_region_reads_its_own_image() -> None:
    features, built = torch.randn(2, CELLS**2, 2), encoder()
    grid = rectangle(1, 1, 4, 4).expand(2, -1, -1)
    found = built(features, grid, torch.tensor([1, 0]))
    torch.testing.assert_close(found[:1], built(features[1:], grid[:1], torch.tensor([0])))
    torch.testing.assert_close(found[1:], built(features[:1], grid[:1], torch.tensor([0])))


@pytest.mark.parametrize("covered", [3, 24])
def test_at_most_so_many_cells_are_drawn_in_training_and_all_in_evaluation(covered: int) -> None:
    grid = rectangle(0, 0, covered, 24)
    found = thinned(grid, 100)
    assert int(found.sum()) == min(100, covered * 24)
    assert not bool((found & ~grid).any())
    assert torch.equal(thinned(grid, 576), grid)
    features = torch.randn(1, CELLS**2, 2)
    few = encoder(points=100)
    once, again = (few(features, rectangle(0, 0, 24, 24), torch.tensor([0])) for _ in range(2))
    assert torch.equal(once, again)
    few.train()
    assert not torch.equal(once, few(features, rectangle(0, 0, 24, 24), torch.tensor([0])))


def test_gradient_reaches_the_adapter() -> None:
    built = encoder()
    built(torch.randn(1, CELLS**2, 2), rectangle(0, 0, 3, 3), torch.tensor([0])).sum().backward()
    assert built.adapter.weight.grad is not None
    assert built.adapter.weight.grad.abs().max() > 0
