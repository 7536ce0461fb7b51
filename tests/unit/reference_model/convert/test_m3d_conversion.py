"""From the files around M3D-LaMed to a model folder, or one message that names what does not fit."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors import safe_open

from harness.errors import DataError, SpecError
from harness.records import Media, MediaPart, Request, TextPart, Turn
from reference_model.adapter import Reference
from reference_model.checkpoints.checkpoint import load_about, read_tensors
from reference_model.cli import main
from reference_model.config import VolumeModelConfig
from reference_model.convert.conversion import Conversion, prepare
from reference_model.convert.parents import Files
from reference_model.convert.report import as_text
from reference_model.convert.tensor_map import Move
from reference_model.convert.writing import TensorEntry, value_of
from reference_model.inputs.conversation import VOLUME_SEG
from reference_model.preset_files import load_preset
from tests.support.shown_media import Shown
from tests.unit.reference_model.convert import m3d_sources as published
from tests.unit.reference_model.convert.convert_sources import drawn, write_shards
from tests.unit.reference_model.convert.m3d_sources import PHI_TOKENS, PublishedM3d, publish
from tests.unit.reference_model.convert.test_m3d_layouts import volume_preset

CONFIG = published.small(volume_preset("m3d-lamed-tiny"), len(PHI_TOKENS))


@pytest.fixture(scope="module")
def parents(tmp_path_factory: pytest.TempPathFactory) -> PublishedM3d:
    return publish(tmp_path_factory.mktemp("m3d"), CONFIG)


@pytest.fixture(scope="module")
def done(parents: PublishedM3d, tmp_path_factory: pytest.TempPathFactory) -> tuple[Conversion, Path]:
    made, out = prepare(CONFIG, Files(**parents.start)), tmp_path_factory.mktemp("out") / "model"
    made.write(out, lambda _: None)
    return made, out


def test_four_checkpoints_become_the_model_that_training_starts_from(
    done: tuple[Conversion, Path], parents: PublishedM3d
) -> None:
    found = read_tensors(done[1] / "model.safetensors")
    for prefix, option in (("segvol.", "segvol"), ("vision.", "vision")):
        for name, value in parents.tensors[option].items():
            assert torch.equal(found[prefix + name.removeprefix("model.")], value), name
    for ours, theirs in (
        ("clip.vision.blocks.1.attn.qkv.weight", "vision_encoder.blocks.1.attn.qkv.weight"),
        ("clip.text.encoder.layer.0.output.LayerNorm.bias", "language_encoder.encoder.layer.0.output.LayerNorm.bias"),
        ("clip.text_head.bias", "mm_language_proj.bias"),
        ("clip.image_head.bias", "mm_vision_proj.bias"),
    ):
        assert torch.equal(found[ours], parents.tensors["m3d_clip"][theirs])


def test_fused_projections_are_cut_and_vocabularies_lose_their_filling(
    done: tuple[Conversion, Path], parents: PublishedM3d
) -> None:
    found, phi = read_tensors(done[1] / "model.safetensors"), parents.tensors["llm"]
    layer = "language.layers.2."
    names = [f"{layer}self_attn.{part}_proj.weight" for part in "qkv"]
    assert torch.equal(torch.cat([found[name] for name in names]), phi["model.layers.2.self_attn.qkv_proj.weight"])
    names = [f"{layer}mlp.{part}_proj.weight" for part in ("gate", "up")]
    assert torch.equal(torch.cat([found[name] for name in names]), phi["model.layers.2.mlp.gate_up_proj.weight"])
    base = CONFIG.prompt.base_vocabulary
    for name in ("embed_tokens.weight", "lm_head.weight"):
        rows, theirs = found[f"language.{name}"], phi[name if name.startswith("lm") else f"model.{name}"]
        assert rows.dtype == torch.bfloat16
        assert (len(theirs), len(rows)) == (base + published.PHI_PADDING, base + 4)
        assert torch.equal(rows[:base], theirs[:base])
        assert torch.equal(rows[base:], theirs[:base].float().mean(dim=0).bfloat16().expand(4, -1))


def test_both_tokenizers_return_and_the_ids_are_those_of_the_weights(done: tuple[Conversion, Path]) -> None:
    about = load_about(done[1])
    assert (about.config, about.experts) == (CONFIG, False)
    tokenizer = about.tokenizer()
    assert tokenizer.special.id(VOLUME_SEG) == CONFIG.prompt.base_vocabulary + 3
    assert tokenizer.end_id == 400
    assert about.text_tokenizer is not None
    assert about.text_tokenizer.load().encode("the liver") == [2, 5, 6, 3]


def test_it_is_said_what_came_from_where(done: tuple[Conversion, Path]) -> None:
    lines = as_text(done[0]).splitlines()
    assert [tuple(line.split()[:2]) for line in lines[1:8]] == [
        ("(drawn)", "perceiver"),
        ("(drawn)", "seg_projector"),
        ("--llm", "language"),
        ("--m3d-clip", "clip"),
        ("--segvol", "segvol"),
        ("--vision", "vision"),
        ("all", str(len(done[0].written))),
    ]
    assert lines[8].startswith("left out of --m3d-clip: 2, BERT's pooler: M3D-CLIP compares the first token itself: ")
    assert lines[9].startswith("left out of --segvol: 3, SegVol's tower for texts: the language model writes its prom")
    assert sorted(lines[10:12]) + lines[12:] == [
        "language.embed_tokens.weight: 404 of 457 rows kept, 4 new ones are their mean",
        "language.lm_head.weight: 404 of 457 rows kept, 4 new ones are their mean",
        "tokenizer.json: 404 entries, <s> begins a text, <|endoftext|> ends an answer; <im_patch>, <bx_start>, "
        "<bx_end>, [SEG] follow as ids 404 to 407",
        "tokenizer.json: no token for padding, which is masked; M3D pads with the unknown or the last token",
        "vocab.txt: 13 entries for M3D-CLIP's texts",
        "drawn at random, for they are in no file: perceiver.projector.0.weight, perceiver.projector.0.bias, "
        "perceiver.projector.2.weight, perceiver.projector.2.bias, seg_projector.0.weight, seg_projector.0.bias, "
        "seg_projector.2.weight, seg_projector.2.bias",
    ]


def test_a_scale_becomes_its_logarithm_where_the_model_takes_the_exponential(
    done: tuple[Conversion, Path], release: Path, parents: PublishedM3d
) -> None:
    by_name = {entry.name: entry for entry in done[0].written}
    assert float(value_of(by_name["clip.logit_scale"]).exp()) == pytest.approx(4.5)
    made = prepare(CONFIG, Files(m3d_lamed=release, m3d_clip=parents.start["m3d_clip"]))
    assert made.about.config.released
    assert [float(value_of(entry)) for entry in made.written if entry.name == "clip.logit_scale"] == [4.5]


def test_a_scale_without_a_logarithm_is_named(done: tuple[Conversion, Path]) -> None:
    move = done[0].plan.moves["clip.logit_scale"]
    negative = Move(
        option=move.option,
        stored=type(move.stored)(file=move.stored.file, shape=(), dtype=torch.float32, read=lambda: torch.tensor(-1.0)),
        shape=(),
        logarithm=True,
    )
    with pytest.raises(DataError, match=r"clip.logit_scale: expected positive numbers, of which to take logarithms"):
        value_of(TensorEntry(name="clip.logit_scale", made_of=negative, dtype=torch.float32))


def test_encoded_positions_keep_their_precision(parents: PublishedM3d) -> None:
    made = prepare(CONFIG, Files(**parents.start), precision="bf16")
    dtypes = {entry.name: entry.dtype for entry in made.written}
    exact = [name for name, dtype in dtypes.items() if dtype != torch.bfloat16]
    assert exact == ["segvol.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """M3D-LaMed with Phi-3 as its merging script saves it."""
    folder = tmp_path_factory.mktemp("m3d-lamed")
    write_shards(folder, drawn(published.lamed(CONFIG, fused=True), 5, torch.bfloat16), safe=True)
    published.write_phi(folder, own=True)
    (folder / "config.json").write_text(json.dumps(published.numbers(CONFIG)))
    return folder


@contextmanager
def replaced(file: Path, text: str) -> Iterator[None]:
    """Replace the text of a file that several tests read, or put a file where none is, for the time of a test."""
    before = file.read_text() if file.exists() else None
    file.write_text(text)
    try:
        yield
    finally:
        file.unlink()
        if before is not None:
            file.write_text(before)


def test_a_release_needs_m3d_clip_only(release: Path, parents: PublishedM3d, tmp_path: Path) -> None:
    made = prepare(CONFIG, Files(m3d_lamed=release, m3d_clip=parents.start["m3d_clip"]))
    assert made.plan.drawn == {}
    assert {move.option for name, move in made.plan.moves.items() if not name.startswith("clip")} == {"--m3d-lamed"}
    with pytest.raises(DataError, match=r"clip: expected a file for every tensor .*; --m3d-clip brings them"):
        prepare(CONFIG, Files(m3d_lamed=release))
    merged = tmp_path / "merged_model.bin"
    torch.save(drawn(published.lamed(CONFIG, fused=True), 5), merged)
    files = Files(m3d_lamed=merged, m3d_clip=parents.start["m3d_clip"], tokenizer=release)
    assert prepare(CONFIG, files).about.saved_tokenizer == made.about.saved_tokenizer


def test_a_release_that_saw_no_masks_takes_segvol_from_its_file(
    release: Path, parents: PublishedM3d, tmp_path: Path
) -> None:
    torch.save(drawn(published.lamed(CONFIG, fused=True, segmenter=False), 5), tmp_path / "model.bin")
    files = Files(
        m3d_lamed=tmp_path / "model.bin",
        m3d_clip=parents.start["m3d_clip"],
        segvol=parents.start["segvol"],
        tokenizer=release,
    )
    made = prepare(CONFIG, files, allowed=["seg_projector.*"])
    assert {move.option for name, move in made.plan.moves.items() if name.startswith("segvol")} == {"--segvol"}
    files = Files(m3d_lamed=release, m3d_clip=parents.start["m3d_clip"], segvol=parents.start["segvol"])
    with pytest.raises(SpecError, match="expected --m3d-lamed without --segvol: it has SegVol, trained further"):
        prepare(CONFIG, files)


def test_adapters_have_to_be_merged_first(release: Path, tmp_path: Path) -> None:
    layer = "base_model.model.model.layers.0.self_attn.qkv_proj"
    shapes = {f"{layer}.base_layer.weight": (4, 4), f"{layer}.lora_A.default.weight": (2, 4)}
    torch.save(drawn(shapes, 1), tmp_path / "model_with_lora.bin")
    with pytest.raises(
        DataError,
        match=r"--m3d-lamed: expected adapters merged into the weights, found 1 tensors of adapters \(base_model.*, "
        r"...\); M3D's merge_lora_weights_and_save_hf_model.py does that",
    ):
        prepare(CONFIG, Files(m3d_lamed=tmp_path / "model_with_lora.bin", tokenizer=release))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_key_value_heads": 1}, "num_key_value_heads: expected 2 as in preset m3d-lamed-tiny, found 1"),
        ({"seg_token_id": 32014}, "seg_token_id: expected 407 as in preset m3d-lamed-tiny, found 32014"),
        (
            {"proj_pooling_type": "sequence"},
            "proj_pooling_type: expected spatial as in preset .*, found sequence",
        ),
        ({"proj_layer_type": "linear"}, "proj_layer_type: expected mlp as in preset m3d-lamed-tiny, found linear"),
        (
            {"image_size": [32, 256, 256]},
            r"image_size: expected \[8, 32, 32\] as in preset .*, found \[32",
        ),
        ({"rope_scaling": {"type": "su"}}, "rope_scaling: expected None as in preset m3d-lamed-tiny, found {'type'"),
        (
            {"rope_parameters": {"rope_theta": 5e5}},
            "rope_parameters.rope_theta: expected 1000000.0 as in preset m3d-lamed-tiny, found 500000.0",
        ),
    ],
)
def test_other_numbers_than_the_presets_are_named(release: Path, change: dict[str, object], message: str) -> None:
    changed = replaced(release / "config.json", json.dumps(published.numbers(CONFIG) | change))
    with changed, pytest.raises(DataError, match=f"config.json: {message}"):
        prepare(CONFIG, Files(m3d_lamed=release))


@pytest.mark.parametrize(
    ("option", "document", "message"),
    [
        ("m3d_clip", {"num_heads": 4, "img_size": [8, 32, 32]}, "num_heads: expected 2 .*, found 4"),
        (
            "segvol",
            {"spatial_size": [32, 256, 256]},
            r"spatial_size: expected \[8, 32, 32\] .*, found \[32, 256",
        ),
        ("llm", {"partial_rotary_factor": 0.75}, "partial_rotary_factor: expected 1.0 .*, found 0.75"),
    ],
)
def test_the_numbers_of_every_parent_are_compared(
    parents: PublishedM3d, option: str, document: dict[str, object], message: str
) -> None:
    changed = replaced(parents.start[option] / "config.json", json.dumps(document))
    with changed, pytest.raises(DataError, match=message):
        prepare(CONFIG, Files(**parents.start))


def test_a_release_with_other_ids_is_named(release: Path) -> None:
    settings = release / "tokenizer_config.json"
    changed = replaced(settings, settings.read_text().replace("<bx_start>", "<bx_open>"))
    with (
        changed,
        pytest.raises(DataError, match="added token <bx_open>: expected no such token as in M3D-LaMed, found id 405"),
    ):
        prepare(CONFIG, Files(m3d_lamed=release))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "expected either --llm or --m3d-lamed, which brings the language model"),
        (("llm", "m3d_lamed"), "expected either --llm or --m3d-lamed, which brings the language model"),
        (
            ("m3d_lamed", "vision"),
            "expected --m3d-lamed without --vision and --projector: it has both, trained further",
        ),
        (
            ("llm", "llava", "sam_med2d"),
            "expected for preset m3d-lamed-tiny some of --projector, --llm, --m3d-lamed, --m3d-clip, --vision, "
            "--segvol, --tokenizer, --text-tokenizer; found --llava, --sam-med2d",
        ),
    ],
)
def test_files_that_make_no_model_are_refused(files: tuple[str, ...], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        prepare(CONFIG, Files(**dict.fromkeys(files, tmp_path)))


def test_options_of_m3d_do_not_fit_medplib(tmp_path: Path) -> None:
    message = (
        "expected for preset medplib-tiny some of --llava, --medplib, --projector, --clip, --sam-med2d, --tokenizer; "
        "found --m3d-clip"
    )
    with pytest.raises(SpecError, match=message):
        prepare(load_preset("medplib-tiny"), Files(m3d_clip=tmp_path))


@pytest.fixture
def convert(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    def preset(name: str) -> VolumeModelConfig:
        assert name == "m3d-lamed-tiny"
        return CONFIG

    monkeypatch.setattr("reference_model.preset_files.load_preset", preset)
    return lambda *arguments: CliRunner().invoke(main, ["convert", "--preset", "m3d-lamed-tiny", *map(str, arguments)])


def test_the_command_has_an_option_for_every_file(
    convert: Callable[..., Result], parents: PublishedM3d, done: tuple[Conversion, Path], tmp_path: Path
) -> None:
    options = [part for key, place in parents.start.items() for part in (f"--{key.replace('_', '-')}", place)]
    result = convert(*options, "--out", tmp_path / "model")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == as_text(done[0]).splitlines()
    with safe_open(tmp_path / "model" / "model.safetensors", framework="pt") as file:
        assert file.get_slice("language.norm.weight").get_dtype() == "BF16"
        assert math.isclose(float(file.get_tensor("clip.logit_scale").exp()), 4.5, rel_tol=1e-6)
    result = convert("--llm", parents.start["llm"], "--dry-run")
    assert result.exit_code == 2
    assert [line.rpartition("; ")[2] for line in result.stderr.splitlines()] == [
        "--m3d-clip brings them",
        "--vision brings them",
        "--segvol brings them",
    ]


def test_a_converted_model_answers_and_embeds(done: tuple[Conversion, Path]) -> None:
    adapter = Reference(str(done[1]))
    adapter.load("cpu")
    voxels = np.random.default_rng(0).normal(0, 300, (6, 20, 24)).astype(np.float32)
    record = Media(path="a.nii.gz", sha256="a" * 64, kind="volume", size=voxels.shape, spacing_mm=(5.0, 1.0, 1.0))
    shown = MediaPart(media=Shown(record, voxels))
    asked = Turn(role="user", parts=(shown, TextPart(text="Is there a lesion in the liver? Please mark it.")))
    decoding = {"max_new_tokens": 3, "temperature": 0}
    generated = Request(messages=(asked,), visual_prompts=(), wants=("text", "masks"), decoding=decoding, key="a")
    embedded = Request(
        messages=(Turn(role="user", parts=(shown,)),),
        visual_prompts=(),
        kind="embed",
        candidates=("The liver has cysts.",),
        key="b",
    )
    answer, vectors = adapter.predict([generated, embedded])
    assert (answer.error, vectors.error) == (None, None)
    assert answer.usage["answer_tokens"] == 3
    assert "lesion in the liver? Please mark it." in str(answer.rendered)
    assert [mask.shape for mask in answer.masks] == [voxels.shape]
    assert vectors.embedding is not None
    volume_C, text_C = vectors.embedding
    assert volume_C.shape == text_C.shape == (CONFIG.vision.width,)
    assert float(np.linalg.norm(volume_C)) == pytest.approx(1, abs=1e-5)
