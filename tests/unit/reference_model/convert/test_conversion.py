"""The command: from published checkpoints on disk to a folder that answers, or one message that names every fault."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open

from harness.errors import DataError, SpecError
from reference_model.checkpoints.checkpoint import load_about, load_model
from reference_model.cli import main
from reference_model.config import ModelConfig
from reference_model.convert.conversion import prepare
from reference_model.convert.parents import Files
from reference_model.convert.report import as_text
from reference_model.inputs.conversation import REGION_START
from reference_model.preset_files import load_preset
from tests.unit.reference_model.convert import convert_sources as published
from tests.unit.reference_model.convert.convert_sources import Published, publish, with_pieces

TINY = load_preset("medplib-tiny")
BASE = TINY.prompt.base_vocabulary


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Checkpoints for the tiny preset, whose vocabulary is too small to spell bytes."""
    return publish(tmp_path_factory.mktemp("published"), TINY, spelt=False)


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["convert", "--preset", "medplib-tiny", *map(str, arguments)])


def of(parents: Published) -> list[object]:
    return ["--llava", parents.llava, "--clip", parents.clip, "--sam-med2d", parents.sam_med2d]


@pytest.fixture(scope="module")
def done(parents: Published, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    out = tmp_path_factory.mktemp("out") / "model"
    return convert(*of(parents), "--out", out), out


def test_three_checkpoints_become_one_model(done: tuple[Result, Path], parents: Published) -> None:
    result, out = done
    assert result.exit_code == 0, result.output
    model, about = load_model(out)
    assert (about.experts, about.config) == (False, TINY)
    tokenizer = about.tokenizer()
    assert tokenizer.special.id(REGION_START) == BASE + 3
    assert tokenizer.decode(tokenizer.encode("the liver and the spleen")) == "the liver and the spleen"
    wanted = parents.tensors["model.layers.2.mlp.down_proj.weight"].float()
    assert torch.equal(model.language.layers[2].mlp.down_proj.weight, wanted)
    with safe_open(out / "model.safetensors", framework="pt") as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    assert kinds["language.norm.weight"] == "F16"
    assert kinds["vision.backbone.post_layernorm.weight"] == "F32"


def test_it_tells_what_came_from_where(done: tuple[Result, Path]) -> None:
    result, out = done
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["from", "part", "tensors", "parameters", "bytes"]
    pixels = sum(name.startswith("image_encoder") for name in published.sam_med2d(TINY))
    assert [tuple(line.split()[:-2]) for line in lines[1:9]] == [
        ("(drawn)", "projector", "4"),
        ("(drawn)", "region", "2"),
        ("--clip", "vision", str(len(published.tower(TINY)))),
        ("--llava", "connector", "4"),
        ("--llava", "language", str(len(published.llama(TINY, BASE)) - 3)),
        ("--sam-med2d", "mask_decoder", str(len(published.sam_med2d(TINY)) - pixels)),
        ("--sam-med2d", "pixel_encoder", str(pixels)),
        ("all", str(len(load_model(out)[0].state_dict()))),
    ]
    assert int(lines[8].split()[-1].replace(",", "")) < (out / "model.safetensors").stat().st_size
    assert lines[9:] == [
        "left out of --llava: 3, angles of positions, computed anew: model.layers.*.self_attn.rotary_emb.inv_freq (3)",
        "left out of --clip: 3, CLIP's comparison of images with texts: logit_scale, text_projection.weight, "
        "visual_projection.weight",
        "left out of --clip: 1, numbers of positions, 0 and up: vision_model.embeddings.position_ids",
        "left out of --clip: 4, CLIP's tower for texts: the language model reads them: "
        "text_model.embeddings.position_ids, text_model.embeddings.token_embedding.weight, "
        "text_model.encoder.layers.*.self_attn.q_proj.weight, text_model.final_layer_norm.weight",
        "left out of --sam-med2d: 1, no weights of a model: optimizer",
        f"left out of tokenizer.json: tokens behind the first {BASE}: <image>",
        f"language.embed_tokens.weight: {BASE} of {BASE} rows kept, 11 new ones are their mean",
        f"language.lm_head.weight: {BASE} of {BASE} rows kept, 11 new ones are their mean",
        "drawn at random, for they are in no file: projector.0.weight, projector.0.bias, projector.2.weight, "
        "projector.2.bias, region.adapter.weight, region.adapter.bias",
    ]
    assert "writing" in result.stderr
    assert str(out) in result.stderr


def test_the_folder_tells_what_it_was_made_of_but_not_where_that_lay(
    done: tuple[Result, Path], parents: Published
) -> None:
    origin = load_about(done[1]).origin["converted"]
    assert origin["preset"] == "medplib-tiny"
    assert origin["files"]["--sam-med2d"] == {"sam-med2d.pth": parents.sam_med2d.stat().st_size}
    assert sorted(origin["files"]["--llava"]) == [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)]
    assert origin["grown"] == ["language.embed_tokens.weight", "language.lm_head.weight"]
    assert len(origin["drawn"]) == 6
    assert str(parents.llava.parent) not in json.dumps(origin)


def test_a_dry_run_tells_the_same_and_writes_nothing(done: tuple[Result, Path], parents: Published) -> None:
    before = sorted(done[1].parent.iterdir())
    result = convert(*of(parents), "--dry-run")
    assert (result.exit_code, result.stdout) == (0, done[0].stdout)
    assert sorted(done[1].parent.iterdir()) == before


def test_a_precision_halves_the_bytes(done: tuple[Result, Path], parents: Published, tmp_path: Path) -> None:
    assert convert(*of(parents), "--out", tmp_path / "half", "--dtype", "bf16").exit_code == 0
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "half", done[1])]
    assert sizes[0] < 0.8 * sizes[1]
    assert load_model(tmp_path / "half")[1].experts is False


def test_a_place_is_asked_for_and_one_in_use_is_left_alone(parents: Published, tmp_path: Path) -> None:
    result = convert(*of(parents))
    assert result.exit_code == 2
    assert "expected a folder, or --dry-run" in result.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    result = convert(*of(parents), "--out", tmp_path / "mine")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(
        "mine: expected a folder that is not there yet; choose another --out"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_disk_without_room_is_told_before_anything_is_written(
    parents: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        free = 1_000_000

    monkeypatch.setattr("shutil.disk_usage", lambda _: Full)
    result = convert(*of(parents), "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "model: expected 0.0 GB of free disk for the weights, found 0.0 GB" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_faults_are_one_message_without_traceback(parents: Published, tmp_path: Path) -> None:
    result = convert("--llava", parents.llava, "--clip", parents.clip, "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert [line.rpartition("; ")[2] for line in result.stderr.splitlines()] == ["--sam-med2d brings them"] * 2
    assert not (tmp_path / "model").exists()


def test_a_projector_of_stage_1_takes_the_place_of_llavas(parents: Published, tmp_path: Path) -> None:
    torch.save(published.drawn(published.projector(TINY), 9), tmp_path / "mm_projector.bin")
    result = convert(*of(parents), "--projector", tmp_path / "mm_projector.bin", "--out", tmp_path / "model")
    assert result.exit_code == 0, result.output
    wanted = published.drawn(published.projector(TINY), 9)["model.mm_projector.2.weight"]
    assert torch.equal(load_model(tmp_path / "model")[0].connector[2].weight, wanted)


def test_what_is_allowed_to_be_missing_is_drawn(parents: Published, tmp_path: Path) -> None:
    vicuna = published.drawn(published.llama(TINY, BASE), 1)
    published.write_shards(tmp_path / "vicuna", vicuna, safe=True)
    sources = ["--llava", tmp_path / "vicuna", "--clip", parents.clip, "--sam-med2d", parents.sam_med2d]
    more = ["--tokenizer", parents.llava, "--dry-run"]
    result = convert(*sources, *more)
    assert result.exit_code == 2
    assert "connector: expected a file for every tensor of the model, found none for 4" in result.stderr
    result = convert(*sources, *more, "--allow-missing", "connector.*")
    assert result.exit_code == 0, result.output
    assert "(drawn)      connector" in result.stdout


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "expected either --llava or --medplib, which brings the language model"),
        (("llava", "medplib"), "expected either --llava or --medplib, which brings the language model"),
        (("medplib", "sam_med2d"), "expected --medplib without --projector and --sam-med2d: it has both, trained fur"),
        (("medplib", "projector"), "expected --medplib without --projector and --sam-med2d: it has both, trained fur"),
    ],
)
def test_files_that_make_no_model_are_refused(files: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        prepare(TINY, Files(**dict.fromkeys(files, tmp_path)))


@pytest.fixture
def medplib(config: ModelConfig, tmp_path: Path) -> tuple[ModelConfig, Path]:
    """A released checkpoint of a small model, with the numbers of its experts."""
    numbers, folder = with_pieces(config), tmp_path / "medplib"
    published.write_shards(folder, published.drawn(published.medplib(numbers), 5), safe=True)
    published.write_tokenizer(folder, published.pieces(400), {"<SEG>": 400, "</mask>": 408, "<gen_2>": 410})
    moe = {"num_experts": [2, 2], "top_k_experts": 1, "use_residual": False, "moe_layers_idx": [0, 1]}
    told = {"num_attention_heads": 2, "rms_norm_eps": 1e-5, "mm_vision_select_layer": -2, "moe": moe}
    (folder / "config.json").write_text(json.dumps(told))
    return numbers, folder


def test_medplib_becomes_a_model_with_experts_that_answers_as_released(
    medplib: tuple[ModelConfig, Path], tmp_path: Path
) -> None:
    made = prepare(medplib[0], Files(medplib=medplib[1]))
    made.write(tmp_path / "model", lambda _: None)
    about = load_model(tmp_path / "model")[1]
    assert (about.experts, about.config.released) == (True, True)
    assert about.config.name == medplib[0].name
    assert not [line for line in as_text(made).splitlines() if "tokenizer" in line or "drawn" in line]


def test_a_released_model_may_take_its_tower_from_clip(medplib: tuple[ModelConfig, Path], tmp_path: Path) -> None:
    torch.save(published.drawn(published.clip(medplib[0]), 7), tmp_path / "clip.bin")
    made = prepare(medplib[0], Files(medplib=medplib[1], clip=tmp_path / "clip.bin"))
    assert {move.option for name, move in made.plan.moves.items() if name.startswith("vision")} == {"--clip"}


def test_other_numbers_of_experts_are_refused(medplib: tuple[ModelConfig, Path]) -> None:
    file = medplib[1] / "config.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps(told | {"num_attention_heads": 4, "moe": told["moe"] | {"top_k_experts": 2}}))
    with pytest.raises(DataError) as caught:
        prepare(medplib[0], Files(medplib=medplib[1]))
    assert [line.partition("config.json: ")[2] for line in str(caught.value).splitlines()] == [
        "num_attention_heads: expected 2 as in preset medplib-tiny, found 4",
        "moe.top_k_experts: expected 1 as in preset medplib-tiny, found 2",
    ]


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ({"<SEG>": 401}, "added token <SEG>: expected id 400 as in MedPLIB, found id 401"),
        ({"[SEG]": 400}, r"added token \[SEG\]: expected no such token as in MedPLIB, found id 400"),
    ],
)
def test_other_special_tokens_than_medplibs_are_refused(
    medplib: tuple[ModelConfig, Path], added: dict[str, int], message: str
) -> None:
    (medplib[1] / "added_tokens.json").write_text(json.dumps(added))
    with pytest.raises(DataError, match=message):
        prepare(medplib[0], Files(medplib=medplib[1]))


def test_stages_2_and_3_of_medplib_become_a_model_without_experts(
    medplib: tuple[ModelConfig, Path], tmp_path: Path
) -> None:
    torch.save(published.drawn(published.medplib(medplib[0], experts=False), 5), tmp_path / "dense.bin")
    made = prepare(medplib[0], Files(medplib=tmp_path / "dense.bin", tokenizer=medplib[1]))
    assert made.about.experts is False
    assert made.plan.drawn == {}
