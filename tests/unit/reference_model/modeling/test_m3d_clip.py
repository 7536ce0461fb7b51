"""The loss of pairs is the released formula in plain numpy, and vectors are those of the first token."""

from dataclasses import replace
from math import log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from reference_model.config import VolumeModelConfig
from reference_model.modeling.m3d_clip import M3dClip, build_clip
from tests.unit.reference_model.small_volumes import SIZE

Floats = NDArray[np.float64]


def unit(count: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 16))), dim=1)


def log_softmax(logits: Floats, axis: int) -> Floats:
    found: Floats = logits - np.log(np.exp(logits).sum(axis=axis, keepdims=True))
    return found


@pytest.fixture
def clip(volume_config: VolumeModelConfig) -> M3dClip:
    return build_clip(volume_config).eval()


@pytest.mark.parametrize("released", [False, True])
def test_the_loss_of_pairs_is_the_released_one_with_the_scale_as_it_is_or_its_exponential(
    released: bool, volume_config: VolumeModelConfig
) -> None:
    clip = build_clip(replace(volume_config, released=released))
    assert clip.logit_scale.item() == pytest.approx(log(1 / 0.07))
    clip.logit_scale.data.fill_(1.5)
    volume_BC, text_UC = unit(4, 0), unit(4, 1)
    logits = (1.5 if released else np.exp(1.5)) * volume_BC.numpy() @ text_UC.numpy().T
    wanted = -(np.diag(log_softmax(logits, 1)).mean() + np.diag(log_softmax(logits, 0)).mean()) / 2
    assert clip.pair_loss(volume_BC, text_UC, torch.arange(4)).item() == pytest.approx(wanted, rel=1e-5)


def test_all_volumes_of_a_text_are_its_matches(clip: M3dClip) -> None:
    volume_BC, text_UC = unit(3, 0), unit(2, 1)
    logits = np.exp(log(1 / 0.07)) * volume_BC.numpy() @ text_UC.numpy().T
    rows, columns = log_softmax(logits, 1), log_softmax(logits, 0)
    by_volume = -(rows[0, 0] + rows[1, 1] + rows[2, 0]) / 3
    by_text = -((columns[0, 0] + columns[2, 0]) / 2 + columns[1, 1]) / 2
    found = clip.pair_loss(volume_BC, text_UC, torch.tensor([0, 1, 0]))
    assert found.item() == pytest.approx((by_volume + by_text) / 2, rel=1e-5)


def test_the_scale_does_not_grow_beyond_a_hundred(clip: M3dClip) -> None:
    volume_BC, text_UC = unit(3, 0), unit(3, 1)
    losses = []
    for scale in (log(100), 12.0):
        clip.logit_scale.data.fill_(scale)
        losses.append(clip.pair_loss(volume_BC, text_UC, torch.arange(3)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_vectors_have_length_one_and_are_of_the_first_token(clip: M3dClip) -> None:
    volume_B1DHW = torch.rand(2, 1, *SIZE)
    found_BC = clip.embed_volumes(volume_B1DHW)
    projected_BC = clip.image_head(clip.vision.tokens(volume_B1DHW)[:, 0])
    torch.testing.assert_close(found_BC, projected_BC / projected_BC.norm(dim=1, keepdim=True))
    assert not torch.allclose(found_BC[0], found_BC[1])


def test_padding_does_not_change_a_text(clip: M3dClip) -> None:
    ids_UT, valid_UT = torch.tensor([[1, 5, 6, 2], [1, 7, 2, 0]]), torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()
    together_UC = clip.embed_texts(ids_UT, valid_UT)
    alone_UC = clip.embed_texts(ids_UT[1:, :3], valid_UT[1:, :3])
    torch.testing.assert_close(together_UC[1:], alone_UC)
    torch.testing.assert_close(together_UC.norm(dim=1), torch.ones(2))
    assert not torch.allclose(together_UC[0], together_UC[1])
