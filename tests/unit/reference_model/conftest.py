"""A model of a few thousand parameters, and one thread to run it on."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.phantoms.families import write_phantoms
from harness.data.phantoms.writers.omnimedvqa import write_omnimedvqa
from reference_model.config import ModelConfig, VolumeModelConfig
from reference_model.inputs import images
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import SpecialTokens, Turn, encode_conversation, expand_image
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.build import build_model
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.modeling.model import PixelGroundingModel
from reference_model.preset_files import load_preset
from tests.unit.reference_model.small_training import small_recipe, small_run
from tests.unit.reference_model.small_volumes import small_config, small_model

WORDS = (
    "user",
    "assistant",
    ":",
    ".",
    "?",
    "what",
    "is",
    "this",
    "the",
    "liver",
    "and",
    "spleen",
    "where",
    "yes",
    "no",
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    path = Path(__file__).parents[2] / "golden" / "reference_model.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def config() -> ModelConfig:
    tiny = load_preset("medplib-tiny")
    return replace(
        tiny,
        prompt=replace(tiny.prompt, base_vocabulary=24, options="written"),
        vision=replace(tiny.vision, image_size=32, width=16, ffn_width=32, layers=2, heads=2),
        language=replace(tiny.language, width=32, ffn_width=48, layers=2, heads=2),
        pixel_encoder=replace(
            tiny.pixel_encoder, image_size=32, patch_size=8, width=16, ffn_width=32, layers=2, heads=2, window=2,
            global_every=2, adapter_width=4, channels=16,
        ),
        mask_decoder=replace(tiny.mask_decoder, heads=2, ffn_width=32, iou_width=16, mask_prompt_channels=4),
    )  # fmt: skip


@pytest.fixture
def model(config: ModelConfig) -> PixelGroundingModel:
    """Weights ten times as large as usual, so that differences show."""
    torch.manual_seed(1)
    built = build_model(config).eval()
    for parameter in built.language.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(10)
    return built


@pytest.fixture(scope="session")
def volume_config() -> VolumeModelConfig:
    return small_config()


@pytest.fixture
def volume_model(volume_config: VolumeModelConfig) -> VolumeGroundingModel:
    return small_model(volume_config)


@pytest.fixture(scope="session")
def tokenizer() -> WordTokenizer:
    return WordTokenizer(WORDS, special=SpecialTokens.after(24, fillers=0))


class Maker:
    """Makes batches of conversations about drawn noise."""

    def __init__(self, config: ModelConfig, tokenizer: WordTokenizer) -> None:
        self.config = config
        self.tokenizer = tokenizer

    def __call__(
        self, *turns: Turn, side: Any = "right", sizes: tuple[tuple[int, int], ...] = (), only: int | None = None
    ) -> Batch:
        """Return one row a turn, or the row `only` of them; a region covers the upper left quarter of the cells."""
        sizes = sizes or ((20, 20),) * len(turns)
        random = np.random.default_rng(0)
        pictures = [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
        rows = [
            expand_image(
                encode_conversation([turn], self.tokenizer, system="none", max_length=99), self.config.vision.tokens
            )
            for turn in turns
        ]
        if only is not None:
            rows, pictures, sizes = [rows[only]], [pictures[only]], (sizes[only],)
            turns = (turns[only],)
        ids_BT, valid_BT, labels_BT = pad(rows, side=side)
        regions = sum(turn.question.count("<region>") for turn in turns)
        grid_RGG = torch.zeros((regions, self.config.vision.cells, self.config.vision.cells), dtype=torch.bool)
        grid_RGG[:, :2, :2] = True
        return Batch(
            ids_BT=ids_BT,
            valid_BT=valid_BT,
            labels_BT=labels_BT,
            vision_B3SS=torch.stack([images.for_vision_tower(p, self.config.vision.image_size) for p in pictures]),
            pixels_B3SS=torch.stack(
                [images.for_pixel_encoder(p, self.config.pixel_encoder.image_size) for p in pictures]
            ),
            sizes=sizes,
            grid_RGG=grid_RGG,
        )


@pytest.fixture
def make(config: ModelConfig, tokenizer: WordTokenizer) -> Maker:
    return Maker(config, tokenizer)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the images of forty synthetic patients, and of twenty with questions with options."""
    root = tmp_path_factory.mktemp("drawn")
    write_phantoms(root, seed=3, patients=40, slices=1)
    write_omnimedvqa(root, 3, patients=20)
    return root


@pytest.fixture(scope="session")
def trained_out(config: ModelConfig, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training: all stages of a recipe in three steps each. Tests read it and leave it as it is."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    recipe = small_recipe(config, drawn)
    small_run(recipe, folder / "out", folder / "cache").stages([stage.number for stage in recipe.stages])
    return folder / "out"
