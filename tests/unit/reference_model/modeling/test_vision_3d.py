"""Patches are cut and flattened in the released order, and the class token comes first and has no position."""

import torch

from reference_model.config import Vision3dConfig
from reference_model.modeling.vision_3d import PatchEmbedding, build_vision_3d

CONFIG = Vision3dConfig(depth=4, side=6, patch_depth=2, patch_side=3, width=8, ffn_width=12, layers=1, heads=2)


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
