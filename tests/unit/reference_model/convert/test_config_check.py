"""A checkpoint's `config.json` is compared with a preset in what shapes do not show."""

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from reference_model.convert.config_check import (
    ConfigNumber,
    check_numbers,
    expert_numbers,
    language_numbers,
    tower_numbers,
)
from reference_model.preset_files import load_preset


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"heads": 4}, "config.json: heads: expected 8 as in preset big, found 4"),
        ({"text_config": {"act": "gelu"}}, "config.json: text_config.act: expected silu as in preset big, found gelu"),
        ({"scaling": {"factor": 2}}, "config.json: scaling: expected None as in preset big, found {'factor': 2}"),
    ],
)
def test_numbers_that_shapes_do_not_tell_are_compared(
    tmp_path: Path, document: dict[str, object], message: str
) -> None:
    numbers = (ConfigNumber("heads", 8), ConfigNumber("act", "silu", "text_config"), ConfigNumber("scaling", None))
    check_numbers(tmp_path, numbers, "big")
    for fine in ({"heads": 8, "text_config": {"act": "silu"}, "scaling": None, "other": 1}, {"text_config": 3}):
        (tmp_path / "config.json").write_text(json.dumps(fine))
        check_numbers(tmp_path, numbers, "big")
    (tmp_path / "config.json").write_text(json.dumps(document))
    with pytest.raises(DataError) as caught:
        check_numbers(tmp_path, numbers, "big")
    assert str(caught.value).endswith(message)


BIG = load_preset("medplib-7b")
LLAMA = {"num_attention_heads": 32, "rms_norm_eps": 1e-05, "hidden_act": "silu", "rope_scaling": None}
EXPERTS = {"num_experts": [2] * 32, "top_k_experts": 1, "use_residual": False, "moe_layers_idx": list(range(32))}
CLIP = {"num_attention_heads": 16, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-05}


@pytest.mark.parametrize(
    ("numbers", "document", "wrong", "message"),
    [
        (
            language_numbers(BIG),
            LLAMA | {"mm_vision_select_layer": -2, "mm_projector_type": "mlp2x_gelu", "tie_word_embeddings": False},
            {"mm_projector_type": "linear"},
            "mm_projector_type: expected mlp2x_gelu",
        ),
        (
            language_numbers(BIG),
            {"text_config": LLAMA | {"num_key_value_heads": 32}, "vision_feature_layer": -2},
            {"vision_feature_layer": -1},
            "vision_feature_layer: expected -2",
        ),
        (language_numbers(BIG), LLAMA, {"num_key_value_heads": 8}, "num_key_value_heads: expected 32"),
        (
            tower_numbers(BIG.vision, "quick_gelu"),
            {"vision_config": CLIP},
            {"vision_config": CLIP | {"hidden_act": "gelu"}},
            "quick_gelu",
        ),
        (
            tower_numbers(BIG.vision, "quick_gelu"),
            CLIP,
            {"num_attention_heads": 12},
            "num_attention_heads: expected 16",
        ),
        (expert_numbers(BIG), {"moe": EXPERTS}, {"moe": EXPERTS | {"moe_layers_idx": [0]}}, "moe.moe_layers_idx: exp"),
    ],
)
def test_published_configurations_fit_the_7b_preset_and_others_do_not(
    tmp_path: Path,
    numbers: tuple[ConfigNumber, ...],
    document: dict[str, object],
    wrong: dict[str, object],
    message: str,
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document))
    check_numbers(tmp_path, numbers, BIG.name)
    file.write_text(json.dumps(document | wrong))
    with pytest.raises(DataError, match=message):
        check_numbers(tmp_path, numbers, BIG.name)
