"""The configuration of a model of the family: the numbers of a preset, read from YAML and checked."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from harness.errors import SpecError, nearest
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_mapping

PRESETS = Path(__file__).parent / "presets"

Section = TypeVar("Section")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """Vocabulary and wording.

    Attributes:
        base_vocabulary: Entries of the tokenizer before the special tokens.
        fillers: Unused tokens between the special ones, kept so that ids match released weights.
        system: The speaker that the system sentence names: MedPLIB trains with `human` and evaluates with `user`.
        max_length: Tokens of a conversation before its image is expanded.
    """

    base_vocabulary: int
    fillers: int
    system: Literal["human", "user", "none"]
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionConfig:
    """CLIP's image tower; its last `skipped_layers` layers do not take part in the features."""

    image_size: int
    patch_size: int
    width: int
    ffn_width: int
    layers: int
    heads: int
    skipped_layers: int

    @property
    def cells(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Positions an image takes in the language model."""
        return self.cells**2


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """Region encoder.

    Attributes:
        points: Maximum number of cells of a region that are sampled in training; 512 in the released code.
        smallest_part: A region of fewer cells is never cut to a part; 10 in the released code.
        alignment: The point at which the features of a cell are read: its `corner`, as released, which shifts the
            region by up to one cell, or its `centre`.
    """

    points: int
    smallest_part: int
    alignment: Literal["corner", "centre"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageConfig:
    """LLaMA."""

    width: int
    ffn_width: int
    layers: int
    heads: int
    max_positions: int
    norm_epsilon: float
    rope_theta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeConfig:
    """The experts that take the place of each feed-forward layer; see `moe.MoeFeedForward`."""

    experts: int
    top_k: int
    capacity_train: float
    capacity_evaluation: float
    min_capacity: int


# How an image fills the square that a pixel encoder sees.
Square = Literal["stretched", "padded"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelEncoderConfig:
    """SAM image encoder with SAM-Med2D adapters; every `global_every`-th layer attends to the whole image."""

    image_size: int
    patch_size: int
    width: int
    ffn_width: int
    layers: int
    heads: int
    window: int
    global_every: int
    adapter_width: int
    channels: int

    @property
    def cells(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDecoderConfig:
    """SAM prompt encoder and two-way decoder; `threshold` is the probability above which a pixel is foreground."""

    layers: int
    heads: int
    ffn_width: int
    iou_layers: int
    iou_width: int
    mask_prompt_channels: int
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """One member of the family.

    Attributes:
        name: The name of the preset.
        released: Whether faults of the released code are repeated, for parity with its numbers: the wrong crop of masks
            for images that are not square, padding that uses up expert capacity, point prompts of 41 pixels at any
            resolution, regions that vanish on the grid of cells.
    """

    name: str
    released: bool
    prompt: PromptConfig
    vision: VisionConfig
    region: RegionConfig
    language: LanguageConfig
    moe: MoeConfig
    pixel_encoder: PixelEncoderConfig
    mask_decoder: MaskDecoderConfig


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def load_preset(name: str) -> ModelConfig:
    """Return the preset of this name.

    Raises:
        SpecError: There is no such preset, or its file is not a valid configuration.
    """
    names = preset_names()
    if name not in names:
        raise SpecError(f"preset: expected one of {', '.join(names)}, got '{name}'{nearest(name, names)}")
    return read_config(PRESETS / f"{name}.yaml")


def read_config(path: Path) -> ModelConfig:
    """Return the configuration in a YAML file.

    Raises:
        SpecError: The file is not a valid configuration; every fault is named with its line.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    if document is None:
        raise faults.error()
    table = Table(document, "", _keys(ModelConfig), faults)
    config = _read(table, ModelConfig)
    if not faults.found:
        for place, key, message in _contradictions(config):
            table.table(place, None).fault(key, message)
    if faults.found:
        raise faults.error()
    return config


def _keys(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _read(table: Table, kind: type[Section]) -> Section:
    """Return the dataclass `kind` with one value per key of `table`."""
    hints = get_type_hints(kind)
    return kind(**{name: _value(table, name, hints[name]) for name in hints})


def _value(table: Table, key: str, kind: Any) -> Any:
    if is_dataclass(kind):
        if key not in table:
            table.fault(key, "required key is missing")
        return _read(table.table(key, _keys(kind)), kind)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        return table.choice(key, get_args(kind))
    if kind is bool:
        if key not in table:
            table.fault(key, "required key is missing")
        return table.flag(key, False)
    if kind is int:
        return table.integer(key, least=0 if key in ("fillers", "min_capacity", "skipped_layers") else 1)
    if kind is float:
        return table.number(key, least=0.0, most=1e7)
    return table.text(key)


def _contradictions(config: ModelConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, message) for every number that does not fit the others."""
    for place in ("vision", "language", "pixel_encoder"):
        section = getattr(config, place)
        yield from _divides(place, "heads", section.heads, "width", section.width)
    for place in ("vision", "pixel_encoder"):
        section = getattr(config, place)
        yield from _divides(place, "patch_size", section.patch_size, "image_size", section.image_size)
    # The adapter halves the map and doubles it again.
    if config.pixel_encoder.cells % 2:
        yield "pixel_encoder", "image_size", f"expected an even number of patches, got {config.pixel_encoder.cells}"
    # SAM's cross-attention works at half the width of its channels.
    yield from _divides(
        "mask_decoder", "heads", 2 * config.mask_decoder.heads, "channels", config.pixel_encoder.channels
    )
    if config.vision.skipped_layers >= config.vision.layers:
        yield "vision", "skipped_layers", f"expected fewer than the {config.vision.layers} layers there are"
    if config.moe.top_k > config.moe.experts:
        yield "moe", "top_k", f"expected at most the {config.moe.experts} experts there are, got {config.moe.top_k}"
    if config.mask_decoder.threshold >= 1:
        yield "mask_decoder", "threshold", f"expected a probability below 1, got {config.mask_decoder.threshold:g}"


def _divides(place: str, key: str, divisor: int, of: str, number: int) -> Iterator[tuple[str, str, str]]:
    if number % divisor:
        yield place, key, f"expected {divisor} to divide {of}, which is {number}"
