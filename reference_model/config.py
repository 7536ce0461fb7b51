"""The configuration of a model of the family: the numbers of a preset, read from YAML and checked."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
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
    """LLaMA, or a model of its form.

    Attributes:
        key_value_heads: Heads of the keys and values, each shared by several heads of queries; 0: as many as `heads`.
    """

    width: int
    ffn_width: int
    layers: int
    heads: int
    max_positions: int
    norm_epsilon: float
    rope_theta: float
    key_value_heads: int = 0


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
    """A model of MedPLIB's architecture, which reads one image.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePromptConfig:
    """Vocabulary and length of M3D-LaMed's texts.

    Attributes:
        base_vocabulary: Entries of the tokenizer before the special tokens.
        max_length: Tokens of a conversation, the positions of its volume included.
    """

    base_vocabulary: int
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vision3dConfig:
    """A vision transformer that reads volumes of `depth` x `side` x `side` voxels in `patch_depth` x `patch_side`^2."""

    depth: int
    side: int
    patch_depth: int
    patch_side: int
    width: int
    ffn_width: int
    layers: int
    heads: int

    @property
    def size(self) -> tuple[int, int, int]:
        """(D, H, W) of a volume, in voxels."""
        return self.depth, self.side, self.side

    @property
    def cells(self) -> tuple[int, int, int]:
        """(d, h, w): patches along the axes of a volume."""
        across = self.side // self.patch_side
        return self.depth // self.patch_depth, across, across

    @property
    def tokens(self) -> int:
        """Patches of a volume."""
        deep, high, wide = self.cells
        return deep * high * wide


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceiverConfig:
    """M3D's spatial pooling perceiver.

    Attributes:
        pooling: Patches that are averaged: cubes of the grid (`spatial`), runs of as many consecutive patches
            (`sequence`), or none.
        pool: Patches along a side of a cube; a run has `pool` ** 3 patches.
        layers: Linear layers of the projector, with GELU between them: 1 is the paper's "Linear", 2 its "MLP".
    """

    pooling: Literal["spatial", "sequence", "none"]
    pool: int
    layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipConfig:
    """The text tower of M3D-CLIP, a BERT; its image tower has the numbers of `vision`.

    Attributes:
        vocabulary: Entries of BERT's own tokenizer.
        max_length: Tokens of a text, of which longer ones are shortened sentence by sentence.
    """

    width: int
    ffn_width: int
    layers: int
    heads: int
    vocabulary: int
    max_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskDecoder3dConfig:
    """SegVol's two-way decoder; `threshold` is the probability above which a voxel is foreground."""

    layers: int
    heads: int
    ffn_width: int
    iou_layers: int
    iou_width: int
    threshold: float


# How a volume is brought to the grid of the model; see `inputs.volumes`.
Preprocessing = Literal["released", "standard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeModelConfig:
    """A model of M3D-LaMed's architecture, which reads one volume.

    Attributes:
        architecture: Tells this configuration from that of MedPLIB, which lacks the key.
        name: The name of the preset.
        released: Whether the released code is followed where it errs: the logit scale of M3D-CLIP is used without
            `exp`, and a `[SEG]` that is the first token of an answer gets no mask.
        segmentation: SegVol's image encoder.
    """

    architecture: Literal["m3d"]
    name: str
    released: bool
    preprocessing: Preprocessing
    prompt: VolumePromptConfig
    vision: Vision3dConfig
    perceiver: PerceiverConfig
    clip: ClipConfig
    language: LanguageConfig
    segmentation: Vision3dConfig
    mask_decoder: MaskDecoder3dConfig

    @property
    def volume_tokens(self) -> int:
        """Positions that a volume takes in the language model."""
        pooled = self.perceiver.pool**3 if self.perceiver.pooling != "none" else 1
        return self.vision.tokens // pooled


AnyConfig = ModelConfig | VolumeModelConfig


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
    kind = VolumeModelConfig if isinstance(document.value, dict) and "architecture" in document.value else ModelConfig
    table = Table(document, "", tuple(field.name for field in fields(kind)), faults)
    config: AnyConfig = _read(table, kind)
    if not faults.found:
        found = _volume_contradictions(config) if isinstance(config, VolumeModelConfig) else _contradictions(config)
        for place, key, message in found:
            table.table(place, None).fault(key, message)
    if faults.found:
        raise faults.error()
    return config


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
        may_be_zero = ("fillers", "min_capacity", "skipped_layers", "key_value_heads")
        return table.integer(key, least=0 if key in may_be_zero else 1)
    if kind is float:
        return table.number(key, least=0.0, most=1e7)
    return table.text(key)


def _contradictions(config: ModelConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, message) for every number that does not fit the others."""
    yield from _language_contradictions(config.language)
    for place in ("vision", "pixel_encoder"):
        section = getattr(config, place)
        yield from _divides(place, "heads", section.heads, "width", section.width)
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


def _volume_contradictions(config: VolumeModelConfig) -> Iterator[tuple[str, str, str]]:
    """Yield (section, key, message) for every number that does not fit the others."""
    yield from _language_contradictions(config.language)
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
    if config.mask_decoder.threshold >= 1:
        yield "mask_decoder", "threshold", f"expected a probability below 1, got {config.mask_decoder.threshold:g}"


def _language_contradictions(config: LanguageConfig) -> Iterator[tuple[str, str, str]]:
    yield from _divides("language", "heads", config.heads, "width", config.width)
    if config.key_value_heads:
        yield from _divides("language", "key_value_heads", config.key_value_heads, "heads", config.heads)


def _divides(place: str, key: str, divisor: int, of: str, number: int) -> Iterator[tuple[str, str, str]]:
    if number % divisor:
        yield place, key, f"expected {divisor} to divide {of}, which is {number}"
