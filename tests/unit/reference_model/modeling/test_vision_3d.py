"""Patches are cut in the released order, the class token comes first, and pooling equals an independent loop."""

from itertools import product

import pytest
import torch
from torch import nn

from reference_model.config import PerceiverConfig, Vision3dConfig
from reference_model.modeling.vision_3d import PatchEmbedding, SpatialPoolingPerceiver, build_vision_3d, pooled

CONFIG = Vision3dConfig(depth=4, side=6, patch_depth=2, patch_side=3, width=8, ffn_width=12, layers=1, heads=2)
CELLS = (2, 4, 4)
PATCHES = 32


def test_patches_and_the_voxels_of_each_are_in_the_order_of_their_axes() -> None:
    embedding = PatchEmbedding(CONFIG)
    volume_B1DHW = torch.randn(2, 1, 4, 6, 6)
    found_BPC = embedding(volume_B1DHW)
    projection, position = embedding.patch_embeddings["1"], embedding.position_embeddings[0]
    place = 0
    for d in range(2):
        for h in range(2):
            for w in range(2):
                voxels = [
                    volume_B1DHW[1, 0, 2 * d + i, 3 * h + j, 3 * w + k]
                    for i in range(2) for j in range(3) for k in range(3)
                ]  # fmt: skip
                wanted_C = projection.weight @ torch.stack(voxels) + projection.bias + position[place]
                torch.testing.assert_close(found_BPC[1, place], wanted_C)
                place += 1
    assert place == CONFIG.tokens == found_BPC.shape[1]


def test_the_class_token_comes_first_and_gets_no_position() -> None:
    tower = build_vision_3d(CONFIG, class_token=True)
    assert tower.cls_token is not None
    torch.nn.init.normal_(tower.cls_token)
    volume_B1DHW = torch.randn(2, 1, 4, 6, 6)
    tokens_BTC = tower.tokens(volume_B1DHW)
    assert tokens_BTC.shape == (2, 1 + CONFIG.tokens, 8)
    torch.testing.assert_close(tower(volume_B1DHW), tokens_BTC[:, 1:])
    tower.blocks = torch.nn.ModuleList()
    torch.testing.assert_close(tower.tokens(volume_B1DHW)[:, 0], tower.norm(tower.cls_token[0]).expand(2, -1))


def test_a_tower_without_class_token_has_no_such_parameter() -> None:
    tower = build_vision_3d(CONFIG, class_token=False)
    assert "cls_token" not in tower.state_dict()
    volume_B1DHW = torch.randn(1, 1, 4, 6, 6)
    torch.testing.assert_close(tower(volume_B1DHW), tower.tokens(volume_B1DHW))


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
