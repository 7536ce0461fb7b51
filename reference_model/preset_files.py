"""Reads the numbers of a model from YAML and checks them."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from harness.errors import SpecError, nearest
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, Node, plain, read_mapping
from reference_model.config import (
    AnyConfig,
    EntityModelConfig,
    ImageModelConfig,
    LanguageConfig,
    LlavaModelConfig,
    ModelConfig,
    PixelEncoderConfig,
    Vision3dConfig,
    VisionConfig,
    VolumeModelConfig,
)

PRESETS = Path(__file__).parent / "presets"
# Configurations by the value of their key `architecture`, which that of MedPLIB lacks.
ARCHITECTURES: Mapping[str, type[AnyConfig]] = {
    "huatuo": LlavaModelConfig, "m3d": VolumeModelConfig, "mimo": EntityModelConfig,
}  # fmt: skip
# Fields of any section that must be below 1, by what they are, and fields that nothing works with at 0.
BELOW_ONE: Mapping[str, str] = {"dropout": "a probability", "threshold": "a probability", "norm_epsilon": "a number"}
ABOVE_ZERO = ("capacity_train", "capacity_evaluation", "norm_epsilon", "rope_theta")

Section = TypeVar("Section")


def preset_names() -> tuple[str, ...]:
    """Return the names of the presets that come with the package."""
    return tuple(sorted(path.stem for path in PRESETS.glob("*.yaml")))


def load_preset(name: str) -> AnyConfig:
    """Return the preset of this name.

    Raises:
        SpecError: There is no such preset, or its file is not a valid configuration.
    """
    names = preset_names()
    if name not in names:
        raise SpecError(f"preset: expected one of {', '.join(names)}, got '{name}'{nearest(name, names)}")
    return read_config(PRESETS / f"{name}.yaml")


def read_config(path: Path) -> AnyConfig:
    """Return the configuration in a YAML file.

    Raises:
        SpecError: The file is not a valid configuration; every fault is named with its line.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    if document is None:
        raise faults.error()
    kind = _kind(document, faults)
    table = Table(document, "", tuple(field.name for field in fields(kind)), faults)
    config: AnyConfig = _read(table, kind)
    if not faults.found:
        for place, key, message in (*_out_of_range(config), *_contradictions(config)):
            table.table(place, None).fault(key, message)
    if faults.found:
        raise faults.error()
    return config


def _kind(document: Node, faults: Faults) -> type[AnyConfig]:
    named = plain(document)
    if not isinstance(named, dict) or "architecture" not in named:
        return ModelConfig
    names = tuple(ARCHITECTURES)
    if named["architecture"] not in names:
        Table(document, "", tuple(named), faults).choice("architecture", names)
        raise faults.error()
    return ARCHITECTURES[named["architecture"]]


def _read(table: Table, kind: type[Section]) -> Section:
    """Return the dataclass `kind` with one value per key of `table`."""
    hints = get_type_hints(kind)
    defaults = {field.name: field.default for field in fields(kind)}  # type: ignore[arg-type]
    left_out = {name for name, value in defaults.items() if value is not MISSING and name not in table}
    return kind(**{name: _value(table, name, hints[name]) for name in hints if name not in left_out})


def _value(table: Table, key: str, kind: Any) -> Any:
    if is_dataclass(kind):
        if key not in table:
            table.fault(key, "required key is missing")
        keys = tuple(field.name for field in fields(kind))
        return _read(table.table(key, keys), kind)  # type: ignore[arg-type]
    if get_origin(kind) is Literal:
        return table.choice(key, get_args(kind))
    if kind is bool:
        if key not in table:
            table.fault(key, "required key is missing")
        return table.flag(key, False)
    if kind is int:
        may_be_zero = ("fillers", "min_capacity", "skipped_layers", "key_value_heads", "adapter_width", "queries")
        return table.integer(key, least=0 if key in may_be_zero else 1)
    if kind is float:
        return table.number(key, least=0.0, most=1e7)
    return table.text(key)


def _out_of_range(config: AnyConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, message) for every number that is wrong whatever the others are."""
    for place in fields(config):
        section = getattr(config, place.name)
        for key in [field.name for field in fields(section)] if is_dataclass(section) else []:
            value = getattr(section, key)
            if key in BELOW_ONE and value >= 1:
                yield place.name, key, f"expected {BELOW_ONE[key]} below 1, got {value:g}"
            if key in ABOVE_ZERO and value == 0:
                yield place.name, key, "expected a number above 0, got 0"


def _contradictions(config: AnyConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, message) for every number that does not fit the others."""
    yield from _language_contradictions(config.language)
    yield from _length_contradictions(config)
    if isinstance(config, VolumeModelConfig):
        yield from _volume_contradictions(config)
    elif isinstance(config, LlavaModelConfig):
        yield from _tower_contradictions("vision", config.vision)
    else:
        yield from _image_contradictions(config)


def _tower_contradictions(place: str, config: VisionConfig | PixelEncoderConfig) -> Iterator[tuple[str, str, str]]:
    yield from _divides(place, "heads", config.heads, "width", config.width)
    yield from _divides(place, "patch_size", config.patch_size, "image_size", config.image_size)
    if isinstance(config, VisionConfig) and config.skipped_layers >= config.layers:
        yield place, "skipped_layers", f"expected fewer than the {config.layers} layers, got {config.skipped_layers}"


def _image_contradictions(config: ImageModelConfig) -> Iterator[tuple[str, str, str]]:
    yield from _tower_contradictions("vision", config.vision)
    yield from _tower_contradictions("pixel_encoder", config.pixel_encoder)
    # The adapter halves the map and doubles it again.
    if config.pixel_encoder.adapter_width and config.pixel_encoder.cells % 2:
        yield "pixel_encoder", "image_size", f"expected an even number of patches, got {config.pixel_encoder.cells}"
    # SAM's cross-attention works at half the width of its channels.
    yield from _divides(
        "mask_decoder", "heads", 2 * config.mask_decoder.heads, "channels", config.pixel_encoder.channels
    )
    if isinstance(config, EntityModelConfig):
        yield from _divides("aligner", "heads", config.aligner.heads, "width", config.aligner.width)
    elif config.moe.top_k > config.moe.experts:
        yield "moe", "top_k", f"expected at most the {config.moe.experts} experts there are, got {config.moe.top_k}"


def _volume_contradictions(config: VolumeModelConfig) -> Iterator[tuple[str, str, str]]:
    for place in ("vision", "segmentation"):
        section: Vision3dConfig = getattr(config, place)
        yield from _divides(place, "heads", section.heads, "width", section.width)
        yield from _divides(place, "patch_depth", section.patch_depth, "depth", section.depth)
        yield from _divides(place, "patch_side", section.patch_side, "side", section.side)
    yield from _divides("clip", "heads", config.clip.heads, "width", config.clip.width)
    # Both towers end in a linear layer of the width of the image tower, as in the release.
    if config.clip.width != config.vision.width:
        yield "clip", "width", f"expected that of vision, {config.vision.width}, got {config.clip.width}"
    if config.segmentation.size != config.vision.size:
        yield "segmentation", "side", f"expected the size of vision, {config.vision.size}"
    pool, cells = config.perceiver.pool, config.vision.cells
    if config.perceiver.pooling == "spatial" and any(number % pool for number in cells):
        yield "perceiver", "pool", f"expected it to divide the cells of vision, {cells}, got {pool}"
    if config.perceiver.pooling == "sequence" and config.vision.tokens % pool**3:
        yield "perceiver", "pool", f"expected its cube to divide the {config.vision.tokens} patches, got {pool}"
    # SegVol's cross-attention works at half the width of its encoder, and its decoder at a quarter and an eighth.
    yield from _divides("mask_decoder", "heads", 2 * config.mask_decoder.heads, "width", config.segmentation.width)
    yield from _divides("segmentation", "width", 8, "width", config.segmentation.width)
    if config.prompt.max_length <= config.volume_tokens + 1:
        yield "prompt", "max_length", f"expected room for text behind the {config.volume_tokens} positions of a volume"


def _language_contradictions(config: LanguageConfig) -> Iterator[tuple[str, str, str]]:
    yield from _divides("language", "heads", config.heads, "width", config.width)
    if config.width % config.heads == 0 and config.width // config.heads % 2:
        # Rotary positions turn pairs of numbers.
        yield "language", "heads", f"expected heads of an even width, got {config.width // config.heads}"
    if config.key_value_heads:
        yield from _divides("language", "key_value_heads", config.key_value_heads, "heads", config.heads)


def _length_contradictions(config: AnyConfig) -> Iterator[tuple[str, str, str]]:
    # An image counts as one token until it is expanded; a volume's positions are all part of `max_length`.
    images = 0 if isinstance(config, VolumeModelConfig) else 1
    if isinstance(config, LlavaModelConfig):
        images = config.prompt.max_images
    positions = config.language.max_positions
    most = positions - images * (config.vision.tokens - 1)
    if config.prompt.max_length > most:
        room = f"what images leave of the {positions} positions of language" if images else "the positions of language"
        yield "prompt", "max_length", f"expected at most {most}, {room}, got {config.prompt.max_length}"


def _divides(place: str, key: str, divisor: int, of: str, number: int) -> Iterator[tuple[str, str, str]]:
    if number % divisor:
        yield place, key, f"expected {divisor} to divide {of}, which is {number}"
