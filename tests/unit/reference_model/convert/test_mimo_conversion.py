"""The parents of MIMO become a model that its training starts from, or one message names every fault."""

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from harness.errors import DataError, SpecError
from reference_model.checkpoints.checkpoint import load_about
from reference_model.cli import main
from reference_model.config import EntityModelConfig
from reference_model.convert import layouts
from reference_model.convert.checkpoint_files import Checkpoint, Stored
from reference_model.convert.config_check import check_numbers, open_clip_numbers, sam_numbers
from reference_model.convert.conversion import Conversion, prepare
from reference_model.convert.layouts import Rule
from reference_model.convert.mimo_parents import NEW_PARTS, SAM_PARTS
from reference_model.convert.parents import Files
from reference_model.convert.report import as_text
from reference_model.convert.tensor_map import Source, TensorMap, make_plan
from reference_model.inputs.conversation import ENTITY_START, SEG
from reference_model.modeling.build import build_entity_model, build_model
from reference_model.modeling.model import EntityGroundingModel
from reference_model.preset_files import load_preset
from tests.unit.reference_model.convert import convert_sources, mimo_sources
from tests.unit.reference_model.convert.convert_sources import Shapes, drawn
from tests.unit.reference_model.convert.mimo_sources import PublishedParents

# Names that SAM's port to transformers has besides those of its parts.
TWICE = "shared_image_embedding.positional_embedding"


@pytest.fixture(scope="module")
def numbers() -> EntityModelConfig:
    return mimo_sources.small()


@pytest.fixture(scope="module")
def parents(numbers: EntityModelConfig, tmp_path_factory: pytest.TempPathFactory) -> PublishedParents:
    return mimo_sources.publish(tmp_path_factory.mktemp("published"), numbers)


@pytest.fixture(scope="module")
def made(numbers: EntityModelConfig, parents: PublishedParents) -> Conversion:
    return prepare(numbers, Files(**parents.files))


def source(
    option: str, shapes: Mapping[str, tuple[int, ...]], rules: tuple[Rule, ...], *parts: str, base: int | None = None
) -> Source:
    """Return a checkpoint of which there are only names and shapes."""
    tensors = {
        name: Stored(file=Path(f"{option[2:]}.bin"), shape=shape, dtype=torch.float16, read=lambda: pytest.fail("read"))
        for name, shape in shapes.items()
    }
    return Source(option=option, checkpoint=Checkpoint(tensors=tensors), rules=rules, parts=parts, base=base)


def ported_sam(state: Mapping[str, torch.Tensor]) -> Shapes:
    """Return SAM in its port to transformers, whose names are those of a model below the two parts that it has."""
    shapes: Shapes = {TWICE: tuple(state["prompt_encoder.positions.positional_embedding"].shape)}
    places = {
        "pixel_encoder.backbone.": "vision_encoder.",
        "mask_decoder.prompt_encoder.": "prompt_encoder.",
        "mask_decoder.decoder.": "mask_decoder.",
    }
    for name, value in state.items():
        for ours, theirs in places.items():
            if name.startswith(ours):
                shapes[theirs + name.removeprefix(ours)] = tuple(value.shape)
    return shapes


@pytest.mark.slow
@pytest.mark.parametrize("ported", [False, True], ids=["as released", "in transformers"])
def test_vicuna_open_clip_and_sam_fill_the_7b_model_but_for_what_is_new(ported: bool) -> None:
    config = load_preset("mimo-7b")
    with torch.device("meta"):
        model = build_model(config)
    clip = convert_sources.clip(config) if ported else mimo_sources.open_clip(config)
    sam = ported_sam(model.state_dict()) if ported else mimo_sources.sam(config)
    plan = make_plan(
        model,
        [
            source("--llm", convert_sources.llama(config, 32_000), layouts.vicuna_rules(), base=32_000),
            source("--clip", clip, layouts.clip_rules(), "vision"),
            source("--sam", sam, layouts.ported_sam_rules() if ported else layouts.sam_rules(config), *SAM_PARTS),
        ],
        NEW_PARTS,
        layouts.MIMO_REMEDIES,
    )
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {name: move.shape for name, move in plan.moves.items()} | plan.drawn == wanted
    assert {name.partition(".")[0] for name in plan.drawn} == {"connector", "prompt_encoder", "aligner", "projector"}
    counted = dict.fromkeys(("vision", "language", "pixel_encoder", "mask_decoder"), 0)
    for name, move in plan.moves.items():
        part = name.partition(".")[0]
        if part in counted and "positional_embedding" not in name:
            counted[part] += prod(move.shape)
    # ViT-H/14 of CLIP without its projection, LLaMA-7B and three more tokens, SAM ViT-H without its constant matrix.
    assert counted["vision"] == 630_766_080
    assert counted["language"] == 6_738_415_616 + 2 * 3 * 4096
    assert counted["pixel_encoder"] + counted["mask_decoder"] == 641_090_608


def test_the_command_tells_what_came_from_where(
    parents: PublishedParents, numbers: EntityModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reference_model.preset_files.load_preset", lambda _: numbers)
    words = [word for name, path in parents.files.items() for word in (f"--{name}", str(path))]
    done = CliRunner().invoke(main, ["convert", "--preset", "mimo", *words, "--out", str(tmp_path / "model")])
    assert done.exit_code == 0, done.output
    rows = [tuple(line.split()[:2]) for line in done.stdout.splitlines()[1:10]]
    assert rows == [
        ("(drawn)", "aligner"),
        ("(drawn)", "connector"),
        ("(drawn)", "projector"),
        ("(drawn)", "prompt_encoder"),
        ("--clip", "vision"),
        ("--llm", "language"),
        ("--sam", "mask_decoder"),
        ("--sam", "pixel_encoder"),
        ("--sam", "prompt_encoder"),
    ]
    about = load_about(tmp_path / "model")
    assert about.config == numbers
    special = about.tokenizer().special
    assert (special.id(ENTITY_START), special.id(SEG)) == (400, 402)
    assert set(about.origin["converted"]["files"]["--sam"]) == {"sam_vit_h_4b8939.pth"}


def test_every_tensor_of_the_files_is_taken_or_named_with_a_reason(made: Conversion, parents: PublishedParents) -> None:
    left = {reason: len(names) for (_, reason), names in made.plan.left.items()}
    assert left == {
        "angles of positions, computed anew": 2,
        "CLIP's comparison of images with texts": 3,
        "CLIP's tower for texts: the language model reads them": 16,
    }
    taken = {id(stored) for move in made.plan.moves.values() for stored in (move.stored, *move.more)}
    assert len(taken) + sum(left.values()) == len(parents.tensors)
    assert "left out of --clip: 3, CLIP's comparison of images with texts: visual.proj, text_" in as_text(made)


@pytest.fixture(scope="module")
def empty(numbers: EntityModelConfig) -> EntityGroundingModel:
    """The small model without numbers."""
    with torch.device("meta"):
        return build_entity_model(numbers)


@pytest.fixture
def plan(numbers: EntityModelConfig, empty: EntityGroundingModel) -> Callable[..., TensorMap]:
    """Return the plan of the usual parents, some of them replaced."""

    def of(**changed: Source) -> TensorMap:
        vicuna = source("--llm", convert_sources.llama(numbers, 400), layouts.vicuna_rules(), base=400)
        usual = {
            "llm": vicuna,
            "clip": source("--clip", mimo_sources.open_clip(numbers), layouts.clip_rules(), "vision"),
            "sam": source("--sam", mimo_sources.sam(numbers), layouts.sam_rules(numbers), *SAM_PARTS),
        }
        found = [one for one in (usual | changed).values() if one is not None]
        return make_plan(empty, found, NEW_PARTS, layouts.MIMO_REMEDIES)

    return of


def test_the_ports_to_transformers_fill_the_same_places(
    plan: Callable[..., TensorMap], numbers: EntityModelConfig, empty: EntityGroundingModel, made: Conversion
) -> None:
    found = plan(
        clip=source("--clip", convert_sources.clip(numbers), layouts.clip_rules(), "vision"),
        sam=source("--sam", ported_sam(empty.state_dict()), layouts.ported_sam_rules(), *SAM_PARTS),
    )
    assert found.moves.keys() == made.plan.moves.keys()
    assert found.left["--sam", "the matrix of positions once more"] == [TWICE]


@pytest.mark.parametrize(
    "shapes",
    [
        convert_sources.llava,
        convert_sources.llava_in_transformers,
        lambda config: convert_sources.llava_in_transformers(config, newer=True),
    ],
    ids=["as published", "in transformers", "in newer transformers"],
)
def test_llava_lends_its_language_model_alone(
    plan: Callable[..., TensorMap], numbers: EntityModelConfig, made: Conversion, shapes: Callable[..., Shapes]
) -> None:
    found = plan(llm=source("--llm", shapes(numbers), layouts.vicuna_rules(), base=400))
    assert found.moves.keys() == made.plan.moves.keys()
    assert len(found.left["--llm", "LLaVA's projector: it reads the features of LLaVA's tower"]) == 4


def test_a_file_of_another_size_and_a_missing_parent_are_named(
    plan: Callable[..., TensorMap], numbers: EntityModelConfig
) -> None:
    shapes = mimo_sources.open_clip(numbers) | {"visual.transformer.resblocks.0.attn.in_proj_weight": (45, 16)}
    part = "vision.backbone.encoder.layers.0.self_attn"
    with pytest.raises(DataError) as caught:
        plan(clip=source("--clip", shapes, layouts.clip_rules(), "vision"))
    assert str(caught.value) == (
        "clip.bin: visual.transformer.resblocks.0.attn.in_proj_weight: expected shape (48, 16) of "
        f"{part}.q_proj.weight, {part}.k_proj.weight, {part}.v_proj.weight together, found (45, 16)"
    )
    shapes = mimo_sources.sam(numbers)
    del shapes["prompt_encoder.point_embeddings.2.weight"]
    with pytest.raises(DataError) as caught:
        plan(sam=source("--sam", shapes, layouts.sam_rules(numbers), *SAM_PARTS))
    names = ", ".join(f"prompt_encoder.point_embeddings.{number}.weight" for number in (0, 1, 3))
    assert str(caught.value).splitlines() == [
        f"sam.bin: {names}: expected shape (4, 16) of prompt_encoder.kind_embed.weight together, found (3, 16)",
        "mask_decoder: expected a file for every tensor of the model, found none for 1: "
        "mask_decoder.prompt_encoder.point_embed.*.weight; --sam brings them",
    ]
    with pytest.raises(DataError) as caught:
        plan(sam=None)
    ends = {line.partition(":")[0]: line.rpartition("; ")[2] for line in str(caught.value).splitlines()}
    assert ends == dict.fromkeys(("mask_decoder", "pixel_encoder", "prompt_encoder"), "--sam brings them")


def test_sam_med2d_is_refused_for_a_model_without_adapters(
    plan: Callable[..., TensorMap], numbers: EntityModelConfig
) -> None:
    shapes = mimo_sources.sam(numbers) | {"image_encoder.blocks.0.Adapter.norm.weight": (16,)}
    with pytest.raises(DataError) as caught:
        plan(sam=source("--sam", shapes, layouts.sam_rules(numbers), *SAM_PARTS))
    assert str(caught.value) == (
        "--sam: expected the tensors of its layout, found 1 others: image_encoder.blocks.*.Adapter.norm.weight"
    )


@pytest.mark.parametrize(("given", "found"), [((), "neither"), (("llm", "llava"), "both")])
def test_a_model_has_one_language_model(
    numbers: EntityModelConfig, given: tuple[str, ...], found: str, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=f"convert: expected either --llm or --llava, .*; found {found}"):
        prepare(numbers, Files(**dict.fromkeys(given, tmp_path)))


def test_files_of_another_architecture_are_refused(numbers: EntityModelConfig, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        prepare(numbers, Files(llm=tmp_path, sam_med2d=tmp_path))
    assert str(caught.value) == (
        "convert: expected for preset mimo-tiny some of --llava, --projector, --clip, --sam, --llm, --tokenizer; "
        "found --sam-med2d"
    )


def test_a_projector_may_be_given_for_the_new_tower(
    parents: PublishedParents, numbers: EntityModelConfig, tmp_path: Path
) -> None:
    save_file(drawn(convert_sources.projector(numbers), 9), tmp_path / "projector.safetensors")
    made = prepare(numbers, Files(**parents.files, projector=tmp_path / "projector.safetensors"))
    assert made.plan.moves["connector.2.bias"].option == "--projector"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"vision_cfg": {"head_width": 80}}, ""),
        ({"vision_cfg": {"layers": 32}}, "model_cfg.vision_cfg.head_width: expected 80 as in preset mimo-7b, found 64"),
        ({"quick_gelu": True}, "model_cfg.quick_gelu: expected False as in preset mimo-7b, found True"),
    ],
)
def test_the_numbers_of_open_clip_are_compared(tmp_path: Path, model: dict[str, object], message: str) -> None:
    vision = load_preset("mimo-7b").vision
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    found = ""
    try:
        check_numbers(tmp_path, open_clip_numbers(vision, "gelu"), "mimo-7b", name="open_clip_config.json")
    except DataError as error:
        found = str(error).partition(".json: ")[2]
    assert found == message


def test_an_open_clip_without_the_key_has_the_exact_gelu(tmp_path: Path) -> None:
    quick = open_clip_numbers(load_preset("mimo-7b").vision, "quick_gelu")
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": {"head_width": 80}}}))
    with pytest.raises(DataError, match=r"model_cfg\.quick_gelu: expected True as in preset mimo-7b, found False"):
        check_numbers(tmp_path, quick, "mimo-7b", name="open_clip_config.json")


def test_the_numbers_of_sam_in_transformers_are_compared(tmp_path: Path) -> None:
    huge = {"num_attention_heads": 16, "window_size": 14, "global_attn_indexes": [7, 15, 23, 31], "hidden_act": "gelu"}
    document = {"vision_config": huge, "mask_decoder_config": {"num_attention_heads": 8}}
    numbers = sam_numbers(load_preset("mimo-7b"))
    (tmp_path / "config.json").write_text(json.dumps(document))
    check_numbers(tmp_path, numbers, "mimo-7b")
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": huge | {"global_attn_indexes": [2, 5, 8, 11]}}))
    with pytest.raises(DataError, match=r"vision_config.global_attn_indexes: expected \[7, 15, 23, 31\] as in preset"):
        check_numbers(tmp_path, numbers, "mimo-7b")


def test_torn_files_and_missing_shards_are_one_line(
    parents: PublishedParents, numbers: EntityModelConfig, tmp_path: Path
) -> None:
    whole = parents.files["sam"].read_bytes()
    (tmp_path / "sam.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as caught:
        prepare(numbers, Files(**parents.files | {"sam": tmp_path / "sam.pth"}))
    assert str(caught.value).startswith(f"{tmp_path / 'sam.pth'}: expected a whole torch file: ")
    for file in parents.files["llm"].iterdir():
        if "00002-of" not in file.name:
            (tmp_path / file.name).symlink_to(file)
    with pytest.raises(DataError, match=r"00002-of-00002.bin: is named by pytorch_model.bin.index.json and not there"):
        prepare(numbers, Files(**parents.files | {"llm": tmp_path}))
