"""The visual prompt encoder and the aligner: places compare with patches, queries read only what they may."""

import torch

from reference_model.modeling.input_aligner import IMAGE_KIND, TEXT_KIND, InputAligner, VisualPromptEncoder
from tests.unit.reference_model.small_entities import small_config


def test_a_point_in_the_centre_of_a_cell_is_encoded_as_the_cell_but_for_its_kind() -> None:
    encoder = VisualPromptEncoder(channels=8, language_width=6)
    centre_N2 = torch.tensor([[0.625, 0.375]])  # column 2 and row 1 of four
    with torch.no_grad():
        encoder.kind_embed.weight.zero_()
        torch.testing.assert_close(encoder(centre_N2, torch.tensor([1]))[0], encoder.patches(4)[6])


def test_places_and_kinds_are_told_apart() -> None:
    encoder = VisualPromptEncoder(channels=8, language_width=6)
    place_N2 = torch.tensor([[0.1, 0.2], [0.1, 0.2], [0.2, 0.1]])
    found_ND = encoder(place_N2, torch.tensor([0, 1, 1]))
    assert not torch.allclose(found_ND[0], found_ND[1])
    assert not torch.allclose(found_ND[1], found_ND[2])
    assert [name for name, _ in encoder.named_buffers()] == ["positions.positional_embedding"]


def test_queries_read_valid_positions_and_their_kinds() -> None:
    aligner = InputAligner(small_config().aligner, language_width=32).eval()
    context_QTD = torch.randn(2, 5, 32)
    kind_QT = torch.full((2, 5), TEXT_KIND)
    valid_QT = torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    found_QLD = aligner(context_QTD, kind_QT, valid_QT)
    assert found_QLD.shape == (2, 2, 32)
    changed_QTD = context_QTD.clone()
    changed_QTD[:, 3:] += 1
    again_QLD = aligner(changed_QTD, kind_QT, valid_QT)
    torch.testing.assert_close(again_QLD[0], found_QLD[0])
    assert not torch.allclose(again_QLD[1], found_QLD[1])
    assert not torch.allclose(aligner(context_QTD, torch.full((2, 5), IMAGE_KIND), valid_QT), found_QLD)
