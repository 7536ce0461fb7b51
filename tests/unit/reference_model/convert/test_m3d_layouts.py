"""Names of the checkpoints around M3D-LaMed fill every tensor of a model once, or all that does not fit is named."""

from math import prod

import pytest
import torch

from harness.errors import DataError
from reference_model.config import VolumeModelConfig
from reference_model.convert import m3d_layouts as layouts
from reference_model.convert.tensor_map import Source, make_plan
from reference_model.modeling.build import AnyModel, build_model
from reference_model.preset_files import load_preset
from tests.unit.reference_model.convert import m3d_sources as published
from tests.unit.reference_model.convert.test_tensor_map import source

NEW = ("perceiver.*", "seg_projector.*")


def volume_preset(name: str) -> VolumeModelConfig:
    config = load_preset(name)
    assert isinstance(config, VolumeModelConfig)
    return config


LLAMA, PHI = (volume_preset(f"m3d-lamed-{name}") for name in ("7b", "phi3"))


@pytest.fixture(scope="module")
def llama() -> AnyModel:
    return on_paper(LLAMA)


@pytest.fixture(scope="module")
def phi() -> AnyModel:
    return on_paper(PHI)


def on_paper(config: VolumeModelConfig) -> AnyModel:
    with torch.device("meta"):
        return build_model(config)


def clip(config: VolumeModelConfig, shapes: dict[str, tuple[int, ...]] | None = None) -> Source:
    shapes = published.m3d_clip(config) if shapes is None else shapes
    return source("--m3d-clip", shapes, layouts.m3d_clip_rules(exponential=False), parts=("clip",))


def lamed(shapes: dict[str, tuple[int, ...]]) -> Source:
    return source("--m3d-lamed", shapes, layouts.lamed_rules())


@pytest.mark.parametrize("fused", [False, True], ids=["llama-2", "phi-3"])
def test_a_release_and_m3d_clip_fill_a_model(fused: bool, llama: AnyModel, phi: AnyModel) -> None:
    config, model = (PHI, phi) if fused else (LLAMA, llama)
    plan = make_plan(model, [lamed(published.lamed(config, fused=fused)), clip(config)], (), layouts.REMEDIES)
    assert plan.moves.keys() == model.state_dict().keys()
    assert list(plan.left.values()) == [["language_encoder.pooler.dense.weight", "language_encoder.pooler.dense.bias"]]
    by_part = {
        part: sum(prod(move.shape) for name, move in plan.moves.items() if name.startswith(f"{part}."))
        for part in ("vision", "segvol", "perceiver", "seg_projector")
    }
    if not fused:
        assert by_part == {
            "vision": 87_389_184,
            "segvol": 117_330_128 + 3 * 384,  # the spec counts parameters, not the fixed frequencies
            "perceiver": 19_931_136,
            "seg_projector": 19_927_808,
        }


def test_phi_3_starts_without_the_rows_that_fill_its_vocabulary(phi: AnyModel) -> None:
    sources = [
        source("--llm", published.llm(PHI, 32_064, fused=True), layouts.llm_rules(), base=32_011),
        clip(PHI),
        source("--vision", published.vision(PHI.vision), layouts.vision_rules(), parts=("vision",)),
        source("--segvol", published.segvol(PHI), layouts.segvol_rules(), parts=("segvol",)),
    ]
    plan = make_plan(phi, sources, NEW, layouts.REMEDIES)
    head = plan.moves["language.lm_head.weight"]
    assert (head.stored.shape, head.rows, head.shape) == ((32_064, 3072), 32_011, (32_015, 3072))
    assert sorted({name.partition(".")[0] for name in plan.drawn}) == ["perceiver", "seg_projector"]
    firsts = [plan.moves[f"language.layers.31.self_attn.{part}_proj.weight"].first for part in "qkv"]
    assert firsts == [0, 3072, 6144]
    assert plan.moves["language.layers.0.mlp.up_proj.weight"].first == 8192


SMALL = published.small(volume_preset("m3d-lamed-tiny"))


@pytest.fixture(scope="module")
def small() -> AnyModel:
    return on_paper(SMALL)


def parents(**changed: Source) -> list[Source]:
    """Return the four checkpoints that training of a small model starts from, some of them replaced."""
    sources = {
        "llm": source("--llm", published.llm(SMALL, 400), layouts.llm_rules(), base=400),
        "m3d_clip": clip(SMALL),
        "vision": source("--vision", published.vision(SMALL.vision), layouts.vision_rules(), parts=("vision",)),
        "segvol": source("--segvol", published.segvol(SMALL), layouts.segvol_rules(), parts=("segvol",)),
    }
    return list((sources | changed).values())


def fault(model: AnyModel, sources: list[Source], allowed: tuple[str, ...] = NEW) -> list[str]:
    with pytest.raises(DataError) as caught:
        make_plan(model, sources, allowed, layouts.REMEDIES)
    return str(caught.value).splitlines()


def test_a_tower_is_also_found_within_m3d_clip(small: AnyModel) -> None:
    whole = source("--vision", published.m3d_clip(SMALL), layouts.vision_rules(), parts=("vision",))
    plan = make_plan(small, parents(vision=whole), NEW, layouts.REMEDIES)
    assert plan.moves["vision.cls_token"].option == "--vision"
    left = plan.left["--vision", "M3D-CLIP's comparison with texts"]
    assert len(left) == len(published.m3d_clip(SMALL)) - len(published.vision(SMALL.vision))


@pytest.mark.parametrize("prefix", ["model.", "module.", ""])
def test_segvol_is_read_without_its_tower_for_texts(prefix: str, small: AnyModel) -> None:
    shapes = published.segvol(SMALL, prefix) | published.segvol_text_tower(prefix)
    found = source("--segvol", shapes, layouts.segvol_rules(), parts=("segvol",))
    plan = make_plan(small, parents(segvol=found), NEW, layouts.REMEDIES)
    reason = "SegVol's tower for texts: the language model writes its prompts"
    assert plan.left["--segvol", reason] == list(published.segvol_text_tower(prefix))


def test_a_perceiver_of_the_first_stage_brings_no_embeddings(small: AnyModel) -> None:
    shapes = published.perceiver(SMALL) | {"model.embed_tokens.weight": (404, SMALL.language.width)}
    found = source("--projector", shapes, layouts.projector_rules(), parts=("perceiver",))
    plan = make_plan(small, [*parents(), found], NEW, layouts.REMEDIES)
    assert {name.partition(".")[0] for name in plan.drawn} == {"seg_projector"}
    reason = "embeddings of M3D's first stage, which its second does not read"
    assert plan.left["--projector", reason] == ["model.embed_tokens.weight"]


def test_a_projector_without_pooling_has_one_layer() -> None:
    rules = layouts.projector_rules()
    assert [rule.of("model.mm_projector.linear.bias") for rule in rules][1] == "perceiver.projector.0.bias"


def test_keys_and_values_may_have_fewer_heads_than_queries() -> None:
    config = published.small(SMALL, key_value_heads=1)
    model = on_paper(config)
    for fused in (False, True):
        shapes = published.llm(config, 400, fused=fused)
        plan = make_plan(
            model, parents(llm=source("--llm", shapes, layouts.llm_rules(), base=400)), NEW, layouts.REMEDIES
        )
        assert plan.moves["language.layers.0.self_attn.v_proj.weight"].shape == (16, 32)
    assert plan.moves["language.layers.0.self_attn.v_proj.weight"].first == 32 + 16


def test_what_no_rule_knows_is_named(small: AnyModel) -> None:
    shapes = published.segvol(SMALL) | {"model.mask_decoder.extra.bias": (2,), "model.pixel_mean": (3, 1, 1)}
    found = fault(small, parents(segvol=source("--segvol", shapes, layouts.segvol_rules(), parts=("segvol",))))
    assert found == [
        "--segvol: expected the tensors of its layout, found 2 others: model.mask_decoder.extra.bias, model.pixel_mean"
    ]


def test_what_is_missing_is_named_with_the_option_that_brings_it(small: AnyModel) -> None:
    shapes = published.llm(SMALL, 400)
    shapes.pop("model.norm.weight")
    found = fault(small, [source("--llm", shapes, layouts.llm_rules(), base=400)], ())
    assert [(line.partition(":")[0], line.rpartition("; ")[2]) for line in found] == [
        ("clip", "--m3d-clip brings them"),
        ("vision", "--vision brings them"),
        ("perceiver", "--projector brings them, --allow-missing 'perceiver.*' draws them at random"),
        ("language", "is the folder whole?"),
        ("seg_projector", "--allow-missing 'seg_projector.*' draws them at random"),
        ("segvol", "--segvol brings them"),
    ]


def test_a_clip_is_not_drawn_at_random(small: AnyModel) -> None:
    sources = [one for one in parents() if one.option != "--m3d-clip"]
    found = fault(small, sources, (*NEW, "clip.*"))
    assert "--allow-missing: clip.logit_scale: expected a layer that can be drawn at random; give a file" in found[0]


def test_a_fused_projection_has_the_rows_of_its_parts(small: AnyModel) -> None:
    shapes = published.llm(SMALL, 400, fused=True) | {"model.layers.1.mlp.gate_up_proj.weight": (48, 32)}
    (line,) = fault(small, parents(llm=source("--llm", shapes, layouts.llm_rules(), base=400)))
    assert line == (
        "llm.bin: model.layers.1.mlp.gate_up_proj.weight: expected shape (96, 32) of "
        "language.layers.1.mlp.gate_proj.weight, language.layers.1.mlp.up_proj.weight together, found (48, 32)"
    )


def test_projections_are_fused_or_apart(small: AnyModel) -> None:
    shapes = published.llm(SMALL, 400, fused=True) | {"model.layers.0.self_attn.k_proj.weight": (32, 32)}
    (line,) = fault(small, parents(llm=source("--llm", shapes, layouts.llm_rules(), base=400)))
    assert line.endswith("expected one tensor for language.layers.0.self_attn.k_proj.weight, found a second")


def test_a_release_has_a_row_for_every_token(small: AnyModel) -> None:
    shapes = published.lamed(SMALL) | {"lm_head.weight": (400, 32)}
    (line,) = fault(small, [lamed(shapes), clip(SMALL)], ())
    assert line.endswith("expected shape (404, 32) of language.lm_head.weight, found (400, 32)")
