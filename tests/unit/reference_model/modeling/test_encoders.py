"""The image tower, the pixel encoder and its adapters."""

import torch
from torch import nn
from transformers.models.sam.modeling_sam import SamVisionEncoder

from reference_model.config import ModelConfig
from reference_model.modeling.pixel_encoder import Adapter, build_pixel_encoder, encode_rows
from reference_model.modeling.vision import Connector, build_vision
from reference_model.preset_files import load_preset


def test_features_are_those_of_the_second_to_last_layer_without_class_token(config: ModelConfig) -> None:
    tower = build_vision(config.vision).eval()
    image = torch.randn(2, 3, 32, 32)
    states = tower.backbone(image, output_hidden_states=True).hidden_states
    torch.testing.assert_close(tower(image), states[-2][:, 1:])
    assert tower(image).shape == (2, config.vision.tokens, config.vision.width)


def test_the_connector_is_linear_gelu_linear() -> None:
    connector = Connector(vision_width=3, language_width=4)
    x = torch.randn(2, 5, 3)
    first, _, second = connector
    torch.testing.assert_close(connector(x), second(nn.functional.gelu(first(x))))


def test_an_adapter_gates_channels_then_detours_over_half_the_resolution() -> None:
    adapter = Adapter(width=4, gate_width=2)
    x = torch.randn(3, 6, 6, 4)
    down, up = adapter.gate[0].weight, adapter.gate[2].weight
    gate = torch.sigmoid(torch.relu(x.flatten(1, 2).mean(1) @ down.T) @ up.T)
    gated = torch.einsum("bijc,bc->bcij", x, gate)
    small = torch.relu(nn.functional.conv2d(gated, adapter.detour[0].weight, stride=2, padding=1))
    assert small.shape[-2:] == (3, 3)
    large = torch.relu(nn.functional.conv_transpose2d(small, adapter.detour[2].weight, stride=2, padding=1))
    expected = nn.functional.layer_norm(x + large.permute(0, 2, 3, 1), (4,))
    torch.testing.assert_close(adapter(x), expected)


def test_the_pixel_encoder_without_its_adapters_is_sams(config: ModelConfig) -> None:
    ours = build_pixel_encoder(config.pixel_encoder).eval()
    sam = SamVisionEncoder(ours.backbone.config).eval()
    state = {key.replace("mlp.dense.", "mlp."): value for key, value in ours.backbone.state_dict().items()}
    sam.load_state_dict({key: value for key, value in state.items() if "adapter" not in key})
    image = torch.randn(2, 3, 32, 32)
    assert not torch.allclose(ours(image), sam(image).last_hidden_state, atol=1e-3)
    for layer in ours.backbone.layers:
        nn.init.zeros_(layer.mlp.adapter.norm.weight)
    torch.testing.assert_close(ours(image), sam(image).last_hidden_state)


def test_windows_and_tables_are_those_of_sam_med2d() -> None:
    with torch.device("meta"):
        layers = build_pixel_encoder(load_preset("medplib-7b").pixel_encoder).backbone.layers
    assert [index for index, layer in enumerate(layers) if layer.window_size == 0] == [2, 5, 8, 11]
    assert layers[0].attn.rel_pos_h.shape == (27, 64)
    assert layers[2].attn.rel_pos_h.shape == (31, 64)


def test_published_sizes_give_256_channels_on_16_by_16_cells() -> None:
    with torch.device("meta"):
        found = build_pixel_encoder(load_preset("medplib-7b").pixel_encoder)(torch.randn(1, 3, 256, 256))
    assert found.shape == (1, 256, 16, 16)


def test_an_image_of_several_masks_is_encoded_once(config: ModelConfig) -> None:
    encoder = build_pixel_encoder(config.pixel_encoder).eval()
    seen: list[int] = []
    encoder.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    images = torch.randn(3, 3, 32, 32)
    found = encode_rows(encoder, images, torch.tensor([0, 2, 2, 2]))
    assert seen == [2]
    torch.testing.assert_close(found, encoder(images)[[0, 2, 2, 2]])
