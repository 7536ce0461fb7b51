"""Recipes: the numbers of the paper, and errors with file and line."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.tasks.catalog import index
from reference_model.config import AnyConfig, EntityModelConfig, ModelConfig, VolumeModelConfig
from reference_model.modeling.build import build_model
from reference_model.training.handover import choose_trained
from reference_model.training.recipe_files import load_recipe, recipe_names
from tests.unit.reference_model.small_entities import small_config, without_aligner


@pytest.mark.parametrize(
    ("number", "samples", "steps", "warm_up"), [(3, 100_482, 786, 7), (2, 400_000, 3125, 31), (4, 500_000, 3907, 39)]
)
def test_steps_of_an_epoch_are_those_of_the_released_scripts(
    number: int, samples: int, steps: int, warm_up: int
) -> None:
    stage = load_recipe("medplib-7b").stage(number)
    assert stage.steps_per_epoch(samples, processes=4) == steps
    assert stage.length(samples, processes=4) == {2: 3, 3: 10, 4: 3}[number] * steps
    assert stage.warm_up_steps(stage.length(samples, 4), samples, processes=4) == warm_up


@pytest.mark.parametrize(
    ("name", "adapters"),
    [("medplib-7b", [None, None, None, (8, 16)]), ("medplib-7b-lora", [None, (16, 16), (8, 16), (8, 16)])],
)
def test_numbers_of_the_large_recipe_are_those_of_the_paper(name: str, adapters: list[tuple[int, int] | None]) -> None:
    recipe = load_recipe(name)
    assert [stage.learning_rate for stage in recipe.stages] == [1e-3, 1e-4, 3e-4, 3e-4]
    assert [stage.epochs for stage in recipe.stages] == [1, 3, 10, 3]
    assert [stage.accumulation(4) for stage in recipe.stages] == [1, 2, 1, 8]
    assert [stage.lora and (stage.lora.rank, stage.lora.alpha) for stage in recipe.stages] == adapters
    assert recipe.stage(4).losses == {"language": 1.0, "bce": 2.0, "dice": 0.5}
    assert recipe.stage(4).start.experts == (3, 2)


def test_the_large_recipe_trains_what_the_paper_trains_and_its_variant_differs_in_that_alone() -> None:
    paper, variant = load_recipe("medplib-7b"), load_recipe("medplib-7b-lora")
    assert paper.stage(2).trains == ("connector", "region", "language")
    assert paper.stage(3).trains == ("language.layers.*.mlp", "mask_decoder", "projector")
    for one, other in zip(paper.stages, variant.stages, strict=True):
        assert replace(one, trains=other.trains, lora=other.lora) == other
        assert (one == other) == (one.number in (1, 4))


def test_the_large_recipe_learns_short_answers_in_words_and_from_all_sets_of_the_paper() -> None:
    sets = {number: [one.task for one in load_recipe("medplib-7b").stage(number).data] for number in (1, 2, 3, 4)}
    assert sets[1] == ["llava_med_alignment"]
    assert set(sets[2]) == {
        "mecovqa_c", "mecovqa_r", "slake_words", "pathvqa_words", "pmc_vqa_words", "vqa_med_2019", "vqa_med_2021",
        "vqa_rad",
    }  # fmt: skip
    assert sets[4] == [*sets[2], *sets[3]]
    for name in set(sets[2]):
        assert "letter" not in index().load(name).oracle


@pytest.mark.parametrize("name", recipe_names())
def test_every_stage_names_parts_of_its_model_and_never_the_frozen_encoders(
    name: str, config: ModelConfig, volume_config: VolumeModelConfig
) -> None:
    recipe = load_recipe(name)
    for stage in recipe.stages:
        own: AnyConfig = volume_config if recipe.reads == "volume" else config
        if isinstance(recipe.config, EntityModelConfig):
            small = small_config()
            own = small if recipe.config.aligner.queries else without_aligner(small)
        model = build_model(own, experts=bool(stage.start.experts))
        trained = choose_trained(model, stage.trains, stage.lora)
        assert trained
        # M3D trains its tower and SegVol in the last stage.
        frozen = {1: ("vision", "clip", "segvol"), 2: ("clip",)} if recipe.reads == "volume" else {}
        if stage.number > 0:
            encoders = frozen.get(stage.number, ("vision", "pixel_encoder"))
            assert not [key for key in trained if key.startswith(encoders)]


@pytest.mark.parametrize("name", ["mimo-7b", "mimo-tiny", "mimo-tiny-without-aligner"])
def test_recipes_of_mimo_mix_as_the_paper_does_and_end_with_questions_alone(name: str) -> None:
    recipe = load_recipe(name)
    shares: dict[str, float] = {}
    for one in recipe.stage(1).data:
        shares[one.task] = shares.get(one.task, 0.0) + (one.ratio or 0.0)
    assert [shares.pop(f"mimoseg_p{number}") for number in (1, 2, 3, 4)] == [1.0, 2.0, 2.0, 1.0]
    assert list(shares.values()) == [1.0]
    assert recipe.stage(1).losses == {"language": 1.0, "bce": 2.0, "dice": 0.5}
    assert {one.task for one in recipe.stage(2).data} == set(shares)
    assert not {"mask_decoder", "projector"} & set(recipe.stage(2).trains)


def test_numbers_of_mimo_are_those_of_the_paper() -> None:
    first, second = load_recipe("mimo-7b").stages
    assert [(one.learning_rate, one.batch, one.epochs) for one in (first, second)] == [(3e-4, 40, 3), (3e-4, 40, 1)]
    assert first.accumulation(4) == 1


def test_numbers_of_huatuo_are_those_of_the_paper_and_of_llava() -> None:
    recipe = load_recipe("huatuo-vision-8b")
    assert recipe.reads == "images"
    assert [(one.learning_rate, one.batch, one.epochs) for one in recipe.stages] == [(1e-3, 256, 1), (2e-5, 128, 1)]
    assert {(one.schedule, one.warm_up) for one in recipe.stages} == {("cosine", 0.03)}
    assert [one.trains for one in recipe.stages] == [("connector",), ("connector", "language")]
    # None of the sets is trained on that its table measures, except PMC-VQA by its training split.
    measured = {"vqa_rad", "slake", "pathvqa", "mmmu"}
    assert not [one for stage in recipe.stages for one in stage.data if one.task.startswith(tuple(measured))]
    assert {one.split for stage in recipe.stages for one in stage.data} == {"train"}


def test_recipes_of_m3d_have_the_numbers_of_the_paper_and_of_the_script() -> None:
    paper, script = load_recipe("m3d-lamed-7b"), load_recipe("m3d-lamed-7b-released")
    assert [stage.learning_rate for stage in paper.stages] == [1e-4, 1e-4, 2e-5]
    assert [stage.learning_rate for stage in script.stages] == [1e-4, 1e-4, 5e-5]
    assert [stage.batch for stage in paper.stages] == [48, 96, 96]
    assert [stage.weight_decay for stage in script.stages] == [0.1, 0.0, 0.0]
    assert [one.stage(2).lora.dropout for one in (paper, script)] == [0.1, 0.05]  # type: ignore[union-attr]
    for recipe in (paper, script):
        assert recipe.reads == "volume"
        assert all(stage.augmentation for stage in recipe.stages)
        assert recipe.stage(1).start.copies == {"vision": "clip.vision"}
        assert (recipe.stage(2).lora.rank, recipe.stage(2).lora.alpha) == (16, 32)  # type: ignore[union-attr]


def test_options_of_the_other_kind_of_media_are_refused(tmp_path: Path) -> None:
    for preset, option, kind, task in (
        ("medplib-tiny", "augmentation", "volumes", "vqa_rad"),
        ("m3d-lamed-tiny", "region_parts", "images with visual prompts", "m3d_rec"),
        ("huatuo-vision-tiny", "region_parts", "images with visual prompts", "vqa_rad"),
    ):
        (tmp_path / "recipe.yaml").write_text(f"recipe: mine\npreset: {preset}\nstages: [1.yaml]\n")
        (tmp_path / "1.yaml").write_text(
            "stage: 1\ntitle: One\ntrains: [language]\nlearning_rate: 0.1\nbatch: 8\nsteps: 3\n"
            f"data: [{{task: {task}}}]\nlosses: {{language: 1}}\n{option}: true\n"
        )
        with pytest.raises(
            SpecError, match=f"1.yaml:9: {option}: expected only for a model that reads {kind}, which this preset does"
        ):
            load_recipe(str(tmp_path / "recipe.yaml"))


def test_a_recipe_that_does_not_exist_is_named() -> None:
    with pytest.raises(
        SpecError, match=r"--recipe: .*, medplib-7b, medplib-7b-lora, medplib-tiny, .*mean 'medplib-tiny'"
    ):
        load_recipe("medplib-tny")
    with pytest.raises(SpecError, match="--stage: expected one of 1, 2, 3, 4 or all for recipe medplib-7b, got 0"):
        load_recipe("medplib-7b").stage(0)


def test_every_fault_of_every_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("recipe: mine\npreset: medplib-tiny\nstages: [1.yaml]\nsede: 3\n")
    (tmp_path / "1.yaml").write_text(
        "stage: 1\ntitle: One\ntrains: [connector]\nlearning_rate: 2\nbatch: 8\nrows: 3\n"
        "data: [{task: vqa_rad}]\nlosses: {langage: 1}\n"
    )
    with pytest.raises(SpecError) as raised:
        load_recipe(str(tmp_path / "recipe.yaml"))
    for line in (
        "recipe.yaml:4: sede: unknown key (did you mean 'seed'?)",
        "1.yaml:8: losses.langage: unknown key (did you mean 'language'?)",
        "1.yaml:4: learning_rate: expected a number from 0 to 1, got the number 2",
        "1.yaml:6: rows: expected 3 to divide batch, which is 8",
        "1.yaml:1: steps: expected either steps or epochs",
    ):
        assert line in str(raised.value)
