"""Three ways to pool the patches of a volume, each by an independent loop, and the layers of the projector."""

from itertools import product

import pytest
import torch
from torch import nn

from reference_model.config import PerceiverConfig
from reference_model.modeling.vision_3d import SpatialPoolingPerceiver, pooled

CELLS = (2, 4, 4)
PATCHES = 32


def test_spatial_pooling_averages_cubes_of_the_grid() -> None:
    features_BPC = torch.randn(2, PATCHES, 3)
    found_BNC = pooled(features_BPC, "spatial", 2, CELLS)
    wanted = []
    for h, w in product(range(2), range(2)):
        places = [16 * i + 4 * (2 * h + j) + 2 * w + k for i, j, k in product(range(2), repeat=3)]
        wanted.append(features_BPC[:, places].mean(dim=1))
    torch.testing.assert_close(found_BNC, torch.stack(wanted, dim=1))


def test_sequence_pooling_averages_runs_of_as_many_patches() -> None:
    features_BPC = torch.randn(2, PATCHES, 3)
    wanted = [features_BPC[:, 8 * run : 8 * run + 8].mean(dim=1) for run in range(4)]
    torch.testing.assert_close(pooled(features_BPC, "sequence", 2, CELLS), torch.stack(wanted, dim=1))


def test_without_pooling_every_patch_is_a_position() -> None:
    features_BPC = torch.randn(2, PATCHES, 3)
    assert pooled(features_BPC, "none", 2, CELLS) is features_BPC


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_projector_has_its_layers_and_gelu_between_them(layers: int) -> None:
    perceiver = SpatialPoolingPerceiver(
        PerceiverConfig(pooling="spatial", pool=2, layers=layers), cells=CELLS, vision_width=3, language_width=5
    )
    linears = [module for module in perceiver.projector if isinstance(module, nn.Linear)]
    assert [tuple(one.weight.shape) for one in linears] == [(5, 3), (5, 5), (5, 5)][:layers]
    assert set(perceiver.state_dict()) == {
        f"projector.{2 * number}.{part}" for number in range(layers) for part in ("weight", "bias")
    }
    features_BPC = torch.randn(2, PATCHES, 3)
    wanted = linears[0](pooled(features_BPC, "spatial", 2, CELLS))
    for one in linears[1:]:
        wanted = one(nn.functional.gelu(wanted))
    torch.testing.assert_close(perceiver(features_BPC), wanted)
