"""The configuration of a model of the family: the numbers of a preset; `preset_files` reads them from YAML."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptConfig:
    """Vocabulary and wording.

    Attributes:
        base_vocabulary: Entries of the tokenizer before the special tokens.
        fillers: Unused tokens between the special ones, kept so that ids match released weights; MIMO has none.
        system: The speaker that the system sentence names: MedPLIB trains with `human` and evaluates with `user`.
        max_length: Tokens of a conversation before its image is expanded.
        options: How a question with options is answered: `written` word by word as any other, as published, or by the
            offered reply that is likeliest as a whole (`scored`), which asks less of a small language model. In place
            of a bare letter the words of its option are scored, and trained.
    """

    base_vocabulary: int
    fillers: int = 0
    system: Literal["human", "user", "none"]
    max_length: int
    options: Literal["written", "scored"] = "written"


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
    """SAM image encoder; every `global_every`-th layer attends to the whole image.

    Attributes:
        adapter_width: Width of the gates of SAM-Med2D's adapters; 0: SAM's own encoder, without adapters.
    """

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
class AlignerConfig:
    """MIMO's multi-modal input aligner, see `input_aligner.InputAligner`.

    Attributes:
        queries: Learned queries, each a position in the language model; 0: the model has no aligner.
    """

    queries: int
    width: int
    ffn_width: int
    layers: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityModelConfig:
    """A model of MIMO's architecture, which reads one image and binds entities of its answers to masks.

    Attributes:
        architecture: Tells this configuration from that of MedPLIB, which lacks the key.
        name: The name of the preset.
    """

    architecture: Literal["mimo"]
    name: str
    prompt: PromptConfig
    vision: VisionConfig
    aligner: AlignerConfig
    language: LanguageConfig
    pixel_encoder: PixelEncoderConfig
    mask_decoder: MaskDecoderConfig

    @property
    def released(self) -> bool:
        """False: no code of MIMO was released, so there are no faults to repeat."""
        return False


ImageModelConfig = ModelConfig | EntityModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePromptConfig:
    """Vocabulary and length of M3D-LaMed's texts.

    Attributes:
        base_vocabulary: Entries of the tokenizer before the special tokens.
        max_length: Tokens of a conversation, the positions of its volume included.
        options: How a question with options is answered: `written` word by word as any other, as released, or by the
            offered reply that is likeliest as a whole (`scored`), which asks less of a small language model.
    """

    base_vocabulary: int
    max_length: int
    options: Literal["written", "scored"] = "written"


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
        dropout: Share of its activations that training drops; 0.1 in BERT.
    """

    width: int
    ffn_width: int
    layers: int
    heads: int
    vocabulary: int
    max_length: int
    dropout: float = 0.1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class LlavaPromptConfig:
    """Vocabulary and length of HuatuoGPT-Vision's conversations.

    Attributes:
        base_vocabulary: Entries of the tokenizer, to which nothing is added.
        max_length: Tokens of a conversation before its images are expanded.
        max_images: Most images of a question.
        options: As for `PromptConfig`.
    """

    base_vocabulary: int
    max_length: int
    max_images: int
    options: Literal["written", "scored"] = "written"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlavaModelConfig:
    """A model of LLaVA-1.5's architecture, as HuatuoGPT-Vision has it, which reads several images and answers in words.

    Attributes:
        architecture: Tells this configuration from that of MedPLIB, which lacks the key.
        name: The name of the preset.
    """

    architecture: Literal["huatuo"]
    name: str
    prompt: LlavaPromptConfig
    vision: VisionConfig
    language: LanguageConfig


AnyConfig = ImageModelConfig | VolumeModelConfig | LlavaModelConfig
