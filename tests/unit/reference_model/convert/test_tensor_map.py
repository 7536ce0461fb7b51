"""Names of published checkpoints: they fill every tensor of a model once, or all that does not fit is named."""

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import pytest
import torch

from harness.errors import DataError
from reference_model.config import ModelConfig
from reference_model.convert import layouts
from reference_model.convert.checkpoint_files import Checkpoint, Stored
from reference_model.convert.layouts import Rule
from reference_model.convert.tensor_map import Source, TensorMap, alike, make_plan
from reference_model.modeling.build import build_model
from reference_model.modeling.model import PixelGroundingModel
from reference_model.preset_files import load_preset
from tests.unit.reference_model.convert import convert_sources as published

NEW = ("region.*", "projector.*")
BIG = load_preset("medplib-7b")


def on_paper(config: ModelConfig, *, experts: bool) -> PixelGroundingModel:
    with torch.device("meta"):
        return build_model(config, experts=experts)


@pytest.fixture(scope="module", params=[False, True], ids=["dense", "experts"])
def big(request: pytest.FixtureRequest) -> tuple[PixelGroundingModel, bool]:
    return on_paper(BIG, experts=request.param), request.param


def unread() -> torch.Tensor:
    raise AssertionError("only names and shapes are looked at")


def source(option: str, shapes: Mapping[str, tuple[int, ...]], rules: tuple[Rule, ...], **fields: object) -> Source:
    tensors = {
        name: Stored(file=Path(f"{option[2:]}.bin"), shape=shape, dtype=torch.float16, read=unread)
        for name, shape in shapes.items()
    }
    return Source(option=option, checkpoint=Checkpoint(tensors=tensors), rules=rules, **fields)  # type: ignore[arg-type]


def clip(config: ModelConfig) -> Source:
    return source("--clip", published.clip(config), layouts.clip_rules(), parts=("vision",))


def sam_med2d(config: ModelConfig) -> Source:
    parts = ("pixel_encoder", "mask_decoder")
    return source("--sam-med2d", published.sam_med2d(config), layouts.sam_med2d_rules(config), parts=parts)


def llava(config: ModelConfig, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Source:
    shapes = published.llava(config) if shapes is None else shapes
    return source("--llava", shapes, layouts.llava_rules(), base=config.prompt.base_vocabulary)


def parents(config: ModelConfig, *changed: Source) -> list[Source]:
    """Return the three sources of a dense model, some of them replaced."""
    by_option = {one.option: one for one in (llava(config), clip(config), sam_med2d(config), *changed)}
    return list(by_option.values())


def fault(config: ModelConfig, *changed: Source, allowed: tuple[str, ...] = NEW) -> str:
    with pytest.raises(DataError) as caught:
        make_plan(on_paper(config, experts=False), parents(config, *changed), allowed, layouts.REMEDIES)
    return str(caught.value)


def parameters(plan: TensorMap, *parts: str) -> int:
    return sum(prod(move.shape) for name, move in plan.moves.items() if name.startswith(parts))


@pytest.mark.slow
@pytest.mark.parametrize(
    "shapes",
    [
        published.llava,
        published.llava_in_transformers,
        lambda config: published.llava_in_transformers(config, newer=True),
    ],
    ids=["as published", "in transformers", "in newer transformers"],
)
def test_llava_clip_and_sam_med2d_fill_the_7b_model_but_for_what_is_new(
    shapes: Callable[[ModelConfig], published.Shapes],
) -> None:
    model = on_paper(BIG, experts=False)
    plan = make_plan(model, parents(BIG, llava(BIG, shapes(BIG))), NEW, layouts.REMEDIES)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {name: move.shape for name, move in plan.moves.items()} | plan.drawn == wanted
    assert {name.partition(".")[0] for name in plan.drawn} == {"region", "projector"}
    grown = {name: move for name, move in plan.moves.items() if move.stored.shape != move.shape}
    assert {name: move.rows for name, move in grown.items()} == {
        "language.embed_tokens.weight": 32_000,
        "language.lm_head.weight": 32_000,
    }
    assert parameters(plan, "vision") == 303_507_456
    assert parameters(plan, "connector") == 20_979_712
    assert parameters(plan, "language") == 6_738_415_616 + 2 * 267 * 4096


@pytest.mark.slow
def test_medplib_fills_all_of_the_7b_model(big: tuple[PixelGroundingModel, bool]) -> None:
    model, experts = big
    shapes = published.medplib(BIG, experts=experts)
    plan = make_plan(model, [source("--medplib", shapes, layouts.medplib_rules(BIG))], (), layouts.REMEDIES)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert {name: move.shape for name, move in plan.moves.items()} == wanted
    assert all(move.stored.shape == move.shape for move in plan.moves.values())
    assert plan.drawn == {}
    experts_more = 4_328_521_728 + 32 * 8_192 if experts else 0
    assert parameters(plan, "language") == 6_738_415_616 + 2 * 267 * 4096 + experts_more
    assert parameters(plan, "region") == 4_198_400
    assert parameters(plan, "projector") == 17_830_144


def test_sam_med2d_has_the_published_number_of_parameters() -> None:
    shapes = published.sam_med2d(BIG)
    matrix = shapes.pop("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix")
    assert matrix == (2, 128)
    assert sum(map(prod, shapes.values())) == 271_241_776


def test_what_is_left_out_is_named_with_its_reason(config: ModelConfig) -> None:
    plan = make_plan(on_paper(config, experts=False), parents(config), NEW, layouts.REMEDIES)
    told = {key: len(names) for key, names in plan.left.items()}
    assert told == {
        ("--llava", "angles of positions, computed anew"): config.language.layers,
        ("--clip", "CLIP's comparison of images with texts"): 3,
        ("--clip", "numbers of positions, 0 and up"): 1,
        ("--clip", "CLIP's tower for texts: the language model reads them"): 4,
    }


def test_a_part_comes_from_the_checkpoint_that_is_named_for_it(config: ModelConfig) -> None:
    shapes = published.llava_in_transformers(config)
    projector = source("--projector", published.projector(config), layouts.projector_rules(), parts=("connector",))
    plan = make_plan(
        on_paper(config, experts=False), parents(config, llava(config, shapes), projector), NEW, layouts.REMEDIES
    )
    assert {move.option for name, move in plan.moves.items() if name.startswith("vision")} == {"--clip"}
    assert {move.option for name, move in plan.moves.items() if name.startswith("connector")} == {"--projector"}
    assert len(plan.left["--llava", "connector comes from --projector"]) == 4
    assert len(plan.left["--llava", "vision comes from --clip"]) == len(published.tower(config))


def test_the_tower_of_llava_serves_where_no_clip_is_named(config: ModelConfig) -> None:
    sources = [llava(config, published.llava_in_transformers(config)), sam_med2d(config)]
    plan = make_plan(on_paper(config, experts=False), sources, NEW, layouts.REMEDIES)
    assert {move.option for name, move in plan.moves.items() if name.startswith("vision")} == {"--llava"}


@pytest.mark.parametrize("name", ["base_model.model.mm_projector.0.weight", "mm_projector.0.weight"])
def test_a_projector_is_known_whatever_stands_before_its_name(name: str) -> None:
    found = layouts.rule_for(name, layouts.projector_rules())
    assert found is not None
    assert found[1] == "connector.0.weight"
    beside = layouts.rule_for("model.embed_tokens.weight", layouts.projector_rules())
    assert beside is not None
    assert beside[0].reason == "embeddings beside a projector: the language model has its own"


def test_unexpected_tensors_are_all_named(config: ModelConfig) -> None:
    more = {f"model.layers.{layer}.self_attn.q_proj.lora_A.weight": (2, 32) for layer in range(2)}
    found = fault(
        config, llava(config, published.llava(config) | more | {"model.layers.7.mlp.up_proj.weight": (48, 32)})
    )
    assert found == (
        "--llava: expected the tensors of its layout, found 3 others: "
        "model.layers.*.self_attn.q_proj.lora_A.weight (2), model.layers.*.mlp.up_proj.weight"
    )


def test_missing_tensors_are_all_named_with_what_brings_them(config: ModelConfig) -> None:
    shapes = published.llava(config)
    del shapes["model.layers.1.mlp.up_proj.weight"], shapes["model.mm_projector.0.bias"]
    found = fault(config, llava(config, shapes), allowed=())
    assert found.splitlines() == [
        "connector: expected a file for every tensor of the model, found none for 1: connector.*.bias; "
        "--projector brings them, --allow-missing 'connector.*' draws them at random",
        "language: expected a file for every tensor of the model, found none for 1: "
        "language.layers.*.mlp.up_proj.weight; is the folder whole?",
        "projector: expected a file for every tensor of the model, found none for 4: projector.*.weight (2), "
        "projector.*.bias (2); --allow-missing 'projector.*' draws them at random",
        "region: expected a file for every tensor of the model, found none for 2: region.adapter.weight, "
        "region.adapter.bias; --allow-missing 'region.*' draws them at random",
    ]


def test_a_missing_checkpoint_is_named_by_its_option(config: ModelConfig) -> None:
    with pytest.raises(DataError) as caught:
        make_plan(on_paper(config, experts=False), [llava(config)], NEW, layouts.REMEDIES)
    remedies = [line.rpartition("; ")[2] for line in str(caught.value).splitlines()]
    assert remedies == ["--clip brings them", "--sam-med2d brings them", "--sam-med2d brings them"]


def test_another_shape_is_named_with_both(config: ModelConfig) -> None:
    shapes = published.sam_med2d(config) | {"image_encoder.pos_embed": (1, 64, 64, 16)}
    found = fault(config, source("--sam-med2d", shapes, layouts.sam_med2d_rules(config), parts=("pixel_encoder",)))
    assert found == (
        "sam-med2d.bin: image_encoder.pos_embed: expected shape (1, 4, 4, 16) of pixel_encoder.backbone.pos_embed, "
        "found (1, 64, 64, 16)"
    )


def test_a_vocabulary_too_small_or_too_wide_is_refused(config: ModelConfig) -> None:
    base = config.prompt.base_vocabulary
    for shape in ((base - 1, 32), (base, 31)):
        found = fault(config, llava(config, published.llava(config) | {"lm_head.weight": shape}))
        assert f"lm_head.weight: expected shape (35, 32) of language.lm_head.weight, found {shape}" in found


def test_the_vocabulary_of_medplib_does_not_grow(config: ModelConfig) -> None:
    shapes = published.medplib(config) | {"lm_head.weight": (config.prompt.base_vocabulary, 32)}
    with pytest.raises(DataError, match=r"lm_head.weight: expected shape \(35, 32\) .*, found \(24, 32\)"):
        make_plan(
            on_paper(config, experts=True),
            [source("--medplib", shapes, layouts.medplib_rules(config))],
            (),
            layouts.REMEDIES,
        )


def test_two_tensors_for_one_place_are_refused(config: ModelConfig) -> None:
    twice = published.llava(config) | {"model.language_model.norm.weight": (32,)}
    found = fault(config, llava(config, twice))
    assert found == (
        "llava.bin: model.language_model.norm.weight: expected one tensor for language.norm.weight, found a second"
    )


def test_only_layers_with_a_rule_of_torch_are_drawn_and_none_of_the_language_model(config: ModelConfig) -> None:
    shapes = published.sam_med2d(config)
    del shapes["image_encoder.pos_embed"], shapes["image_encoder.neck.0.weight"]
    less = source("--sam-med2d", shapes, layouts.sam_med2d_rules(config))
    words = published.llava(config)
    del words["lm_head.weight"]
    found = fault(config, less, llava(config, words), allowed=(*NEW, "pixel_encoder.*", "language.*"))
    assert found.splitlines() == [
        f"--allow-missing: {name}: expected a layer that can be drawn at random; give a file that holds it"
        for name in ("language.lm_head.weight", "pixel_encoder.backbone.pos_embed")
    ]


def test_names_that_differ_in_numbers_are_told_once() -> None:
    assert alike(["a.0.b", "a.12.b", "c.d", "a.0.1"]) == ["a.*.b (2)", "c.d", "a.*.1"]
