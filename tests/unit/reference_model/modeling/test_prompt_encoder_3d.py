"""Points and boxes in volumes become prompts at the place that they name."""

import math

import pytest
import torch
from torch import Tensor

from reference_model.modeling.prompt_encoder_3d import PromptEncoder3d

SIZE, CELLS = (6, 9, 15), (2, 3, 5)


@pytest.fixture
def encoder() -> PromptEncoder3d:
    return PromptEncoder3d(width=8, size=SIZE, cells=CELLS)


def encoded(encoder: PromptEncoder3d, z: float, y: float, x: float) -> Tensor:
    """Return the code (C,) of a place in the unit cube, by the formula of the release."""
    matrix = encoder.pe_layer.positional_encoding_gaussian_matrix
    angle = torch.stack(
        [
            2 * math.pi * ((2 * y - 1) * matrix[0, j] + (2 * z - 1) * matrix[1, j] + (2 * x - 1) * matrix[2, j])
            for j in range(matrix.shape[1])
        ]
    )
    return torch.cat((angle.sin(), angle.cos()))


def points(*zyx: tuple[float, float, float]) -> Tensor:
    return torch.tensor([zyx])


def test_cells_are_encoded_by_their_centres(encoder: PromptEncoder3d) -> None:
    found = encoder.positions()
    assert found.shape == (1, 8, *CELLS)
    for z in range(2):
        for y in range(3):
            for x in range(5):
                expected = encoded(encoder, (z + 0.5) / 2, (y + 0.5) / 3, (x + 0.5) / 5)
                torch.testing.assert_close(found[0, :, z, y, x], expected, atol=1e-5, rtol=0)


def test_frequencies_are_from_a_unit_normal() -> None:
    matrix = PromptEncoder3d(width=2000, size=SIZE, cells=CELLS).pe_layer.positional_encoding_gaussian_matrix
    assert matrix.shape == (3, 1000)
    assert 0.95 < matrix.std() < 1.05


def test_a_point_has_the_position_of_its_cell(encoder: PromptEncoder3d) -> None:
    """Every cell is three voxels wide here, so that its centre is that of a voxel."""
    found = encoder.embed_points(points((4, 1, 13)), torch.tensor([[1]]))
    expected = encoder.positions()[0, :, 1, 0, 4] + encoder.point_embeddings[1].weight[0]
    torch.testing.assert_close(found[0, 0], expected, atol=1e-5, rtol=0)


def test_labels_of_points_differ_and_a_missing_point_has_no_position(encoder: PromptEncoder3d) -> None:
    place = (4.0, 1.0, 13.0)
    found = encoder.embed_points(points(place, place, place, (0, 0, 0)), torch.tensor([[0, 1, -1, -1]]))
    position = encoder.positions()[0, :, 1, 0, 4]
    outside, inside = (encoder.point_embeddings[label].weight[0] for label in (0, 1))
    missing = encoder.not_a_point_embed.weight[0]
    expected = torch.stack((position + outside, position + inside, missing, missing, missing))
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)


def test_padding_comes_last_and_only_without_a_box(encoder: PromptEncoder3d) -> None:
    place, label = points((4, 1, 13)), torch.tensor([[0]])
    alone, beside = encoder.embed_points(place, label), encoder.embed_points(place, label, with_box=True)
    assert (alone.shape, beside.shape) == ((1, 2, 8), (1, 1, 8))
    torch.testing.assert_close(alone[:, :1], beside)
    torch.testing.assert_close(alone[0, 1], encoder.not_a_point_embed.weight[0])


def test_corners_of_boxes_differ(encoder: PromptEncoder3d) -> None:
    found = encoder.embed_boxes(torch.tensor([[1, 1, 4, 4, 7, 13]]))
    dense = encoder.positions()[0]
    lower = dense[:, 0, 0, 1] + encoder.point_embeddings[2].weight[0]
    upper = dense[:, 1, 2, 4] + encoder.point_embeddings[3].weight[0]
    torch.testing.assert_close(found, torch.stack((lower, upper))[None], atol=1e-5, rtol=0)


def test_no_point_and_no_box_give_no_prompts(encoder: PromptEncoder3d) -> None:
    none = torch.zeros((0, 1, 3)), torch.zeros((0, 1), dtype=torch.long)
    assert encoder.embed_points(*none).shape == (0, 2, 8)
    assert encoder.embed_boxes(torch.zeros((0, 6))).shape == (0, 2, 8)


def test_released_geometry_reads_z_for_y(encoder: PromptEncoder3d) -> None:
    """SegVol's callers pass (z, y, x); its encoder divides the first by the height and the second by the depth."""
    found = encoder.embed_points(points((4, 1, 13)), torch.tensor([[1]]), with_box=True, geometry="released")
    place = encoded(encoder, z=1.5 / 6, y=4.5 / 9, x=13.5 / 15)
    torch.testing.assert_close(found[0, 0], place + encoder.point_embeddings[1].weight[0], atol=1e-5, rtol=0)
    box = encoder.embed_boxes(torch.tensor([[4, 1, 13, 5, 2, 14]]), geometry="released")
    torch.testing.assert_close(box[0, 0], place + encoder.point_embeddings[2].weight[0], atol=1e-5, rtol=0)


def test_positions_are_exact_under_autocast(encoder: PromptEncoder3d) -> None:
    expected = encoder.positions(), encoder.embed_points(points((4, 1, 13)), torch.tensor([[1]]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = encoder.positions(), encoder.embed_points(points((4, 1, 13)), torch.tensor([[1]]))
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_the_mask_branch_is_kept_but_not_trained(encoder: PromptEncoder3d) -> None:
    frozen = {name for name, parameter in encoder.named_parameters() if not parameter.requires_grad}
    assert frozen == {f"mask_downscaling.{layer}.{kind}" for layer in (0, 1, 3, 4, 6) for kind in ("weight", "bias")}
