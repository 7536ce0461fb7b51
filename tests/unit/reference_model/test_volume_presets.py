"""Presets of M3D-LaMed have the published parameters, and every fault of one is named."""

import resource
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.errors import SpecError
from reference_model.cli import main
from reference_model.config import VolumeModelConfig
from reference_model.info import PresetInfo, describe
from reference_model.preset_files import PRESETS, load_preset, read_config

TINY = (PRESETS / "m3d-lamed-tiny.yaml").read_text(encoding="utf-8")
BYTES_OF_TINY = 8_000_000


def volume_preset(name: str) -> VolumeModelConfig:
    config = load_preset(name)
    assert isinstance(config, VolumeModelConfig)
    return config


def parameters(info: PresetInfo) -> dict[str, int]:
    return {module.name: module.parameters for module in info.modules}


def test_parameters_of_the_published_model_are_the_counted_ones_and_none_is_allocated() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts = parameters(describe(volume_preset("m3d-lamed-7b")))
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 1_000_000, f"{grown} KB for a description of 7 billion parameters"
    assert counts["vision"] == 87_389_184
    assert counts["segvol"] == 117_330_128
    assert counts["perceiver"] == 19_931_136
    assert counts["seg_projector"] == 19_927_808
    # LLaMA-2-7B, and a row of both matrices for each of the four tokens
    assert counts["language"] == 6_738_415_616 + 2 * 4 * 4096
    # BERT-base without its pooler, two heads and the scale beside a second tower
    assert counts["clip"] == 87_389_184 + 109_482_240 - 590_592 + 2 * 590_592 + 1


def test_the_linear_perceiver_has_the_published_parameters() -> None:
    config = volume_preset("m3d-lamed-7b")
    linear = replace(config, perceiver=replace(config.perceiver, layers=1))
    assert parameters(describe(linear))["perceiver"] == 3_149_824


def test_other_language_models_have_their_own_parameters() -> None:
    phi, llama = (describe(volume_preset(name)) for name in ("m3d-lamed-phi3", "m3d-lamed-llama3"))
    # Phi-3-mini is published with 3,821,079,552 for 32,064 rows, Llama-3-8B with 8,030,261,248 for 128,256.
    assert parameters(phi)["language"] == 3_821_079_552 + 2 * 3072 * (32_015 - 32_064)
    assert parameters(llama)["language"] == 8_030_261_248 + 2 * 4096 * 4


def test_the_tiny_model_fits_in_8_megabytes_at_16_bits() -> None:
    info = describe(load_preset("m3d-lamed-tiny"))
    headers = 120 * sum(tensor.count for module in info.modules for tensor in module.tensors)
    assert 2 * info.parameters + headers <= BYTES_OF_TINY


def test_positions_of_a_volume_follow_from_the_pooling() -> None:
    config = volume_preset("m3d-lamed-7b")
    assert config.vision.tokens == 2048
    found = [
        replace(config, perceiver=replace(config.perceiver, pooling=one)).volume_tokens
        for one in ("spatial", "sequence", "none")
    ]
    assert found == [256, 256, 2048]


def test_the_command_names_every_part() -> None:
    done = CliRunner().invoke(main, ["info", "--preset", "m3d-lamed-tiny"])
    for part in ("clip", "vision", "perceiver", "language", "seg_projector", "segvol"):
        assert f"\n{part} " in f"\n{done.output}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("released: false", "relased: false", "mine.yaml:5: relased: unknown key (did you mean 'released'?)"),
        ("preprocessing: standard", "preprocessing: own", "preprocessing: expected one of 'released', 'standard', got"),
        ("pooling: spatial", "pooling: cubes", "perceiver.pooling: expected one of 'spatial', 'sequence', 'none', got"),
        ("  heads: 3\n", "  heads: 5\n", "language.heads: expected 5 to divide width, which is 192"),
        (
            "  heads: 3\n",
            "  heads: 3\n  key_value_heads: 2\n",
            "language.key_value_heads: expected 2 to divide heads, which is 3",
        ),
        (
            "ffn_width: 256, layers: 3, heads: 4",
            "ffn_width: 256, layers: 3, heads: 3",
            "mine.yaml:8: vision.heads: expected 3 to divide width, which is 128",
        ),
        (
            "vision: {depth: 32, side: 64, patch_depth: 4,",
            "vision: {depth: 32, side: 64, patch_depth: 5,",
            "vision.patch_depth: expected 5 to divide depth, which is 32",
        ),
        (
            "patch_side: 8, width: 96",
            "patch_side: 7, width: 96",
            "segmentation.patch_side: expected 7 to divide side, which is 64",
        ),
        (
            "segmentation: {depth: 32, side: 64",
            "segmentation: {depth: 32, side: 32",
            "segmentation.side: expected the size of vision, (32, 64, 64)",
        ),
        ("width: 96,", "width: 100,", "segmentation.width: expected 8 to divide width, which is 100"),
        ("pool: 2,", "pool: 3,", "perceiver.pool: expected it to divide the cells of vision, (8, 8, 8), got 3"),
        (
            "pooling: spatial, pool: 2",
            "pooling: sequence, pool: 3",
            "perceiver.pool: expected its cube to divide the 512 patches, got 3",
        ),
        (
            "layers: 2, heads: 4, vocabulary",
            "layers: 2, heads: 3, vocabulary",
            "clip.heads: expected 3 to divide width",
        ),
        ("clip: {width: 128", "clip: {width: 64", "clip.width: expected that of vision, 128, got 64"),
        (
            "mask_decoder: {layers: 2, heads: 4",
            "mask_decoder: {layers: 2, heads: 7",
            "mask_decoder.heads: expected 14 to divide width, which is 96",
        ),
        ("max_length: 256", "max_length: 65", "prompt.max_length: expected room for text behind the 64 positions of a"),
        (
            "max_length: 256",
            "max_length: 1025",
            "prompt.max_length: expected at most 1024, the positions of language, got 1025",
        ),
        ("dropout: 0}", "dropout: 1.5}", "clip.dropout: expected a probability below 1, got 1.5"),
        ("threshold: 0.5", "threshold: 1", "mask_decoder.threshold: expected a probability below 1, got 1"),
        (", iou_width: 64", "", "mask_decoder.iou_width: required key is missing"),
    ],
)
def test_a_wrong_number_is_named_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert TINY.count(old) == 1
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.replace(old, new), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_config(path)
    assert message in str(caught.value)
    assert "mine.yaml:" in str(caught.value)


def test_all_faults_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(TINY.replace("pool: 2,", "pool: 3,").replace("clip: {width: 128", "clip: {width: 64"))
    with pytest.raises(SpecError) as caught:
        read_config(path)
    assert "perceiver.pool" in str(caught.value)
    assert "clip.width" in str(caught.value)
