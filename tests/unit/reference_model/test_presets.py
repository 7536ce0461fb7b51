"""Presets are read whole or refused with every fault, and describe the published architecture."""

import errno
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.errors import SpecError
from reference_model.cli import main
from reference_model.info import PresetInfo, as_text, describe
from reference_model.preset_files import PRESETS, load_preset, preset_names, read_config

TINY = (PRESETS / "medplib-tiny.yaml").read_text(encoding="utf-8")
BYTES_OF_TINY = 8_000_000


@pytest.fixture(scope="module")
def published() -> PresetInfo:
    return describe(load_preset("medplib-7b"))


def parameters(info: PresetInfo) -> dict[str, int]:
    return {module.name: module.parameters for module in info.modules}


def fault_of(text: str, folder: Path) -> str:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_config(path)
    return str(caught.value).replace(str(folder) + "/", "")


def test_every_preset_is_named_as_its_file() -> None:
    assert preset_names() == (
        "huatuo-vision-8b",
        "huatuo-vision-tiny",
        "m3d-lamed-7b",
        "m3d-lamed-llama3",
        "m3d-lamed-phi3",
        "m3d-lamed-tiny",
        "medplib-7b",
        "medplib-tiny",
        "mimo-7b",
        "mimo-tiny",
        "mimo-tiny-without-aligner",
    )
    assert [load_preset(name).name for name in preset_names()] == list(preset_names())


def test_parameters_of_the_published_model_are_the_counted_ones(published: PresetInfo) -> None:
    assert parameters(published) == {
        "vision": 303_507_456,
        "connector": 20_979_712,
        "region": 4_198_400,
        "language": 11_069_386_752,
        "projector": 17_830_144,
        "pixel_encoder": 267_177_216,
        "mask_decoder": 6_220 + 4_058_340,
    }
    assert published.parameters == 11_687_144_240


def test_parts_of_the_published_model_are_the_counted_ones(published: PresetInfo) -> None:
    counted: dict[str, int] = {}
    for module in published.modules:
        for tensor in module.tensors:
            size = tensor.count
            for length in tensor.shape:
                size *= length
            for part in ("adapter.", "router.", "prompt_encoder.", "decoder.", "experts."):
                if f".{part}" in f".{tensor.name}":
                    counted[f"{module.name} {part}"] = counted.get(f"{module.name} {part}", 0) + size
    assert counted["pixel_encoder adapter."] == 180_504_576
    assert counted["mask_decoder prompt_encoder."] == 6_220
    assert counted["mask_decoder decoder."] == 4_058_340
    assert counted["language router."] == 32 * 8_192
    assert counted["language experts."] == 2 * 4_328_521_728
    assert parameters(published)["pixel_encoder"] + parameters(published)["mask_decoder"] == 271_241_776


def test_the_dense_model_is_llama_7b(published: PresetInfo) -> None:
    language = parameters(published)["language"]
    vocabulary = 2 * 4096 * (32_267 - 32_000)
    assert language - 4_328_521_728 - 32 * 8_192 - vocabulary == 6_738_415_616


@pytest.mark.parametrize("name", ["huatuo-vision-tiny", "medplib-tiny", "mimo-tiny"])
def test_the_tiny_model_fits_in_8_megabytes_at_16_bits(name: str) -> None:
    info = describe(load_preset(name))
    headers = 120 * sum(tensor.count for module in info.modules for tensor in module.tensors)
    assert 2 * info.parameters + headers <= BYTES_OF_TINY


def test_the_command_prints_the_same_as_table_and_as_json(published: PresetInfo) -> None:
    table = CliRunner().invoke(main, ["info", "--preset", "medplib-7b"])
    assert table.output.rstrip("\n") == as_text(published)
    assert "language.layers" not in table.output
    assert "layers.*.mlp.experts.*.down_proj.weight" in table.output
    found = json.loads(CliRunner().invoke(main, ["info", "--preset", "medplib-7b", "--json"]).output)
    assert found["parameters"] == published.parameters
    assert {module["name"]: module["parameters"] for module in found["modules"]} == parameters(published)


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    done = CliRunner().invoke(main, ["info", "--preset", "medplib-tny"])
    assert done.exit_code == 2
    assert done.stderr == (
        f"reference-model: preset: expected one of {', '.join(preset_names())}, got 'medplib-tny' "
        "(did you mean 'medplib-tiny'?)\n"
    )
    with pytest.raises(SpecError, match="expected one of huatuo-vision-8b"):
        CliRunner().invoke(main, ["info", "--preset", "x", "--debug"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("released: false", "relased: false", "mine.yaml:3: relased: unknown key (did you mean 'released'?)"),
        ("released: false", "", "mine.yaml:2: released: required key is missing"),
        ("layers: 3\n  heads: 3", "layers: 3\n  heads: 5", "language.heads: expected 5 to divide width, which is 192"),
        ("image_size: 96, ", "image_size: 90, ", "vision.patch_size: expected 8 to divide image_size, which is 90"),
        ("image_size: 96\n", "image_size: 92\n", "image_size: expected an even number of patches, got 23"),
        ("  heads: 4\n  ffn_width: 128", "  heads: 3\n  ffn_width: 128", "expected 6 to divide channels, which is 64"),
        ("skipped_layers: 1", "skipped_layers: 4", "skipped_layers: expected fewer than the 4 layers, got 4"),
        ("top_k: 1", "top_k: 3", "moe.top_k: expected at most the 2 experts there are, got 3"),
        ("threshold: 0.5", "threshold: 1", "mask_decoder.threshold: expected a probability below 1, got 1"),
        ("heads: 3", "heads: 64", "language.heads: expected heads of an even width, got 3"),
        (
            "max_length: 256",
            "max_length: 882",
            "prompt.max_length: expected at most 881, what images leave of the 1024 positions of language, got 882",
        ),
        ("norm_epsilon: 0.00001", "norm_epsilon: 1", "language.norm_epsilon: expected a number below 1, got 1"),
        ("rope_theta: 1000000", "rope_theta: 0", "language.rope_theta: expected a number above 0, got 0"),
        ("capacity_evaluation: 2.0", "capacity_evaluation: 0", "moe.capacity_evaluation: expected a number above 0"),
        (
            "alignment: corner",
            "alignment: center",
            "region.alignment: expected one of 'corner', 'centre', got 'center'",
        ),
        ("capacity_train: 1.5", "capacity_train: yes", "moe.capacity_train: expected a number"),
        ("  channels: 64\n", "", "pixel_encoder.channels: required key is missing"),
    ],
)
def test_a_wrong_number_is_named_with_its_line(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert TINY.count(old) == 1
    assert message in fault_of(TINY.replace(old, new), tmp_path)


def test_a_missing_section_and_a_broken_file_are_named(tmp_path: Path) -> None:
    without = "\n".join(line for line in TINY.splitlines() if not line.startswith("moe:"))
    assert "moe: required key is missing" in fault_of(without, tmp_path)
    assert "expected 'key: value' lines" in fault_of("- 1\n", tmp_path)


def test_a_command_without_torch_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("reference_model.preset_files.load_preset", absent)
    done = CliRunner().invoke(main, ["info", "--preset", "medplib-tiny"])
    assert done.exit_code == 2
    assert done.stderr == ("reference-model: needs torch, which is not installed; pip install 'medground[models]'\n")


def test_a_folder_that_may_not_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/out")

    monkeypatch.setattr("reference_model.preset_files.load_preset", refused)
    done = CliRunner().invoke(main, ["info", "--preset", "medplib-tiny"])
    assert (done.exit_code, done.stderr) == (
        2,
        "reference-model: /out: Permission denied; name another place, or change its rights\n",
    )
