"""Maps tensor names of published checkpoints to names in the model, with a reason for each tensor left out.

Names as in LLaVA-1.5 and its port to transformers, in OpenCLIP and CLIP's port to transformers, and in the repositories
of SAM, SAM-Med2D and MedPLIB.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reference_model.config import EntityModelConfig, ImageModelConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the tensors whose names match a pattern.

    Attributes:
        pattern: Regular expression that matches the whole name.
        target: Name in the model, with references to the groups of the pattern; empty if the tensor is left out.
        reason: The reason why the tensor is left out.
        stacked: Names in the model, instead of a target, of the tensors whose rows this one holds one after the other.
        logarithm: Whether the model has the logarithm of the tensor.
        copies: Names in the model, beside the target, of tensors that get the same values.
        joined: Name in the model, beside the target, of a tensor that gets the rows of all tensors of the pattern, in
            the order of its first group, a number.
    """

    pattern: str
    target: str = ""
    reason: str = ""
    stacked: tuple[str, ...] = ()
    logarithm: bool = False
    copies: tuple[str, ...] = ()
    joined: str = ""

    def of(self, name: str) -> str | None:
        """Return the name in the model, empty if the tensor is left out; None if the rule does not match."""
        found = re.fullmatch(self.pattern, name)
        return None if found is None else found.expand(self.target)

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return every name in the model; none if the tensor is left out or the rule does not match."""
        found = re.fullmatch(self.pattern, name)
        targets = self.stacked or (self.target, *self.copies)
        return () if found is None else tuple(found.expand(target) for target in targets if target)


# Remedies for parts of a model that reads images of which a tensor is in no file.
REMEDIES = {
    "vision": "--clip brings them",
    "connector": "--projector brings them, --allow-missing 'connector.*' draws them at random",
    "region": "--allow-missing 'region.*' draws them at random",
    "language": "is the folder whole?",
    "projector": "--allow-missing 'projector.*' draws them at random",
    "pixel_encoder": "--sam-med2d brings them",
    "mask_decoder": "--sam-med2d brings them",
}
# The same for MIMO: SAM in place of SAM-Med2D, and an aligner.
MIMO_REMEDIES = {
    **REMEDIES,
    "aligner": "--allow-missing 'aligner.*' draws them at random",
    "prompt_encoder": "--sam brings them",
    "pixel_encoder": "--sam brings them",
    "mask_decoder": "--sam brings them",
}

END = r"\.(weight|bias)"
_PROJECTIONS = r"(?:gate|up|down)_proj"
# Prefixes of LLaVA's language model: in earlier and later versions of its port to transformers, and as published.
_LLAVA = r"(?:language_model\.model\.|model\.language_model\.|model\.)"
_LLAVA_HEAD = Rule(r"(?:language_model\.)?lm_head\.weight", "language.lm_head.weight")
# Prefix of the image encoder in SAM's port to transformers.
PORTED_SAM = "vision_encoder."
_COMPARISON = "CLIP's comparison of images with texts"
_TEXT_TOWER = "CLIP's tower for texts: the language model reads them"


def llava_rules() -> tuple[Rule, ...]:
    """Return the rules of LLaVA-1.5: as published, and as earlier and later versions of transformers save it."""
    return (
        *language_rules(_LLAVA),
        _LLAVA_HEAD,
        Rule(rf"model\.mm_projector\.([02]){END}", r"connector.\1.\2"),
        Rule(rf"(?:model\.)?multi_modal_projector\.linear_1{END}", r"connector.0.\1"),
        Rule(rf"(?:model\.)?multi_modal_projector\.linear_2{END}", r"connector.2.\1"),
        *_tower_rules(r"(?:model\.)?vision_tower\.(?:vision_tower\.)?(?:vision_model\.)?"),
    )


def vicuna_rules() -> tuple[Rule, ...]:
    """Return the rules of Vicuna, or of the language model in LLaVA-1.5 for a model with another tower than its own."""
    return (
        *language_rules(_LLAVA),
        _LLAVA_HEAD,
        Rule(
            r"(?:model\.)?(?:mm_projector|multi_modal_projector)\..+",
            reason="LLaVA's projector: it reads the features of LLaVA's tower",
        ),
        Rule(r"(?:model\.)?vision_tower\..+", reason="LLaVA's tower: the model has another"),
    )


def projector_rules() -> tuple[Rule, ...]:
    """Return the rules of a file with only LLaVA's projector."""
    # Training scripts save it under the name of whatever wrapped the model, so any prefix matches.
    return (
        Rule(rf"(?:.+\.)?mm_projector\.([02]){END}", r"connector.\1.\2"),
        Rule(r"(?:.+\.)?embed_tokens\.weight", reason="embeddings beside a projector: the language model has its own"),
    )


def clip_rules() -> tuple[Rule, ...]:
    """Return the rules of a CLIP checkpoint, with both towers or only the image tower: transformers' and OpenCLIP's."""
    return (
        Rule(r"text_model\..+", reason=_TEXT_TOWER),
        Rule(r"(?:(?:visual|text)_projection\.weight|logit_scale)", reason=_COMPARISON),
        *_tower_rules(r"(?:vision_model\.)?"),
        *_open_clip_rules(),
    )


def medplib_rules(config: ModelConfig) -> tuple[Rule, ...]:
    """Return the rules of a MedPLIB checkpoint whose adapters are merged, with experts or without."""
    layer = r"model\.layers\.(\d+)\.mlp\.deepspeed_moe\."
    expert = rf"{layer}experts\.deepspeed_experts\.(\d+)\.({_PROJECTIONS}\.weight)"
    # Experts before LLaVA's rules, as the first matching rule wins. Expert 0 stays expert 0 (grounding).
    return (
        Rule(rf"{layer}gate\.wg\.weight", r"language.layers.\1.mlp.router.weight"),
        Rule(expert, r"language.layers.\1.mlp.experts.\2.\3"),
        *llava_rules(),
        Rule(rf"model\.region_fea_adapter{END}", r"region.adapter.\1"),
        Rule(rf"model\.text_hidden_fcs\.0\.([02]){END}", r"projector.\1.\2"),
        *sam_med2d_rules(config, r"model\.visual_model\."),
    )


def sam_med2d_rules(config: ImageModelConfig, prefix: str = "") -> tuple[Rule, ...]:
    """Return the rules of SAM-Med2D, which keeps SAM's names and adds `Adapter` to every block.

    Args:
        config: The configuration, which sets the number of layers of the IoU head.
        prefix: Regular expression before every name.
    """
    block, layer = r"image_encoder\.blocks\.(\d+)", r"pixel_encoder.backbone.layers.\1"
    rules = (
        Rule(rf"{block}\.mlp\.(lin[12]){END}", rf"{layer}.mlp.dense.\2.\3"),
        Rule(rf"{block}\.Adapter\.channel\.([02])\.weight", rf"{layer}.mlp.adapter.gate.\2.weight"),
        Rule(rf"{block}\.Adapter\.spatial\.([02])\.weight", rf"{layer}.mlp.adapter.detour.\2.weight"),
        Rule(rf"{block}\.Adapter\.norm{END}", rf"{layer}.mlp.adapter.norm.\2"),
        *_image_encoder_rules(),
        *_prompt_encoder_rules(),
        *_mask_decoder_rules(config),
    )
    return tuple(Rule(prefix + rule.pattern, rule.target) for rule in rules)


def sam_rules(config: EntityModelConfig) -> tuple[Rule, ...]:
    """Return the rules of SAM as released, for MIMO."""
    block = r"image_encoder\.blocks\.(\d+)"
    return (
        *_shared_prompt_rules(),
        Rule(rf"{block}\.mlp\.(lin[12]){END}", r"pixel_encoder.backbone.layers.\1.mlp.\2.\3"),
        *_image_encoder_rules(),
        *_prompt_encoder_rules(),
        *_mask_decoder_rules(config),
    )


def ported_sam_rules() -> tuple[Rule, ...]:
    """Return the rules of SAM's port to transformers, whose names the model keeps below its own, for MIMO."""
    return (
        *_shared_prompt_rules(),
        Rule(r"shared_image_embedding\.positional_embedding", reason="the matrix of positions once more"),
        Rule(rf"{re.escape(PORTED_SAM)}(.+)", r"pixel_encoder.backbone.\1"),
        Rule(r"prompt_encoder\.(.+)", r"mask_decoder.prompt_encoder.\1"),
        Rule(r"mask_decoder\.(.+)", r"mask_decoder.decoder.\1"),
    )


def _shared_prompt_rules() -> Iterator[Rule]:
    """Yield the rules of what both MIMO's language model and its mask decoder read: places and kinds of points."""
    yield Rule(
        r"prompt_encoder\.(?:pe_layer\.positional_encoding_gaussian_matrix|shared_embedding\.positional_embedding)",
        "mask_decoder.prompt_encoder.shared_embedding.positional_embedding",
        copies=("prompt_encoder.positions.positional_embedding",),
    )
    # MIMO numbers the kinds of points as SAM does, see `input_aligner.VisualPromptEncoder`.
    yield Rule(
        r"prompt_encoder\.point_embed(?:dings)?\.(\d+)\.weight",
        r"mask_decoder.prompt_encoder.point_embed.\1.weight",
        joined="prompt_encoder.kind_embed.weight",
    )


def language_rules(model: str) -> Iterator[Rule]:
    """Yield the rules of LLaMA without its head; `model` is a regular expression before every name."""
    part = rf"self_attn\.[qkvo]_proj|mlp\.{_PROJECTIONS}|input_layernorm|post_attention_layernorm"
    yield Rule(rf"{model}(embed_tokens|norm)\.weight", r"language.\1.weight")
    yield Rule(rf"{model}layers\.(\d+)\.((?:{part})\.weight)", r"language.layers.\1.\2")
    yield Rule(rf"{model}layers\.\d+\.self_attn\.rotary_emb\.inv_freq", reason="angles of positions, computed anew")


def _tower_rules(prefix: str) -> Iterator[Rule]:
    yield Rule(rf"{prefix}embeddings\.position_ids", reason="numbers of positions, 0 and up")
    yield Rule(rf"{prefix}((?:embeddings|pre_layrnorm|encoder|post_layernorm)\..+)", r"vision.backbone.\1")


def _open_clip_rules() -> Iterator[Rule]:
    """Yield the rules of OpenCLIP, whose attention has one matrix for queries, keys and values, in this order."""
    block, layer = r"visual\.transformer\.resblocks\.(\d+)", r"vision.backbone.encoder.layers.\1"
    yield Rule(r"visual\.class_embedding", "vision.backbone.embeddings.class_embedding")
    yield Rule(r"visual\.positional_embedding", "vision.backbone.embeddings.position_embedding.weight")
    yield Rule(r"visual\.conv1\.weight", "vision.backbone.embeddings.patch_embedding.weight")
    yield Rule(rf"visual\.ln_pre{END}", r"vision.backbone.pre_layrnorm.\1")
    yield Rule(rf"visual\.ln_post{END}", r"vision.backbone.post_layernorm.\1")
    yield Rule(rf"{block}\.ln_([12]){END}", rf"{layer}.layer_norm\2.\3")
    yield Rule(
        rf"{block}\.attn\.in_proj_(weight|bias)",
        stacked=tuple(rf"{layer}.self_attn.{part}_proj.\2" for part in ("q", "k", "v")),
    )
    yield Rule(rf"{block}\.attn\.out_proj{END}", rf"{layer}.self_attn.out_proj.\2")
    yield Rule(rf"{block}\.mlp\.c_fc{END}", rf"{layer}.mlp.fc1.\2")
    yield Rule(rf"{block}\.mlp\.c_proj{END}", rf"{layer}.mlp.fc2.\2")
    yield Rule(r"visual\.proj|text_projection|logit_bias", reason=_COMPARISON)
    texts = r"(?:text|transformer|token_embedding|ln_final)\..+|positional_embedding|attn_mask"
    yield Rule(texts, reason=_TEXT_TOWER)


def _image_encoder_rules() -> Iterator[Rule]:
    """Yield the rules of SAM's image encoder but for its feed-forward parts."""
    encoder, block = "pixel_encoder.backbone", r"image_encoder\.blocks\.(\d+)"
    layer = rf"{encoder}.layers.\1"
    yield Rule(r"image_encoder\.pos_embed", f"{encoder}.pos_embed")
    yield Rule(rf"image_encoder\.patch_embed\.proj{END}", rf"{encoder}.patch_embed.projection.\1")
    yield Rule(rf"{block}\.norm([12]){END}", rf"{layer}.layer_norm\2.\3")
    yield Rule(rf"{block}\.attn\.(rel_pos_[hw]|(?:qkv|proj)\.(?:weight|bias))", rf"{layer}.attn.\2")
    # SAM numbers the modules of a `Sequential`; the numbers missing below are activations, which have no weights.
    for number, name in enumerate(("conv1", "layer_norm1", "conv2", "layer_norm2")):
        yield Rule(rf"image_encoder\.neck\.{number}{END}", rf"{encoder}.neck.{name}.\1")


def _prompt_encoder_rules() -> Iterator[Rule]:
    encoder = "mask_decoder.prompt_encoder"
    yield Rule(
        r"prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix",
        f"{encoder}.shared_embedding.positional_embedding",
    )
    yield Rule(r"prompt_encoder\.point_embeddings\.(\d+)\.weight", rf"{encoder}.point_embed.\1.weight")
    yield Rule(r"prompt_encoder\.(not_a_point_embed|no_mask_embed)\.weight", rf"{encoder}.\1.weight")
    for number, name in ((0, "conv1"), (1, "layer_norm1"), (3, "conv2"), (4, "layer_norm2"), (6, "conv3")):
        yield Rule(rf"prompt_encoder\.mask_downscaling\.{number}{END}", rf"{encoder}.mask_embed.{name}.\1")


def _mask_decoder_rules(config: ImageModelConfig) -> Iterator[Rule]:
    decoder, transformer = "mask_decoder.decoder", r"mask_decoder\.transformer\."
    layer = rf"{transformer}layers\.(\d+)\."
    yield Rule(r"mask_decoder\.(iou_token|mask_tokens)\.weight", rf"{decoder}.\1.weight")
    yield Rule(rf"{layer}norm([1-4]){END}", rf"{decoder}.transformer.layers.\1.layer_norm\2.\3")
    yield Rule(rf"{layer}((?:self_attn|cross_attn_\w+|mlp)\.\w+){END}", rf"{decoder}.transformer.layers.\1.\2.\3")
    yield Rule(rf"{transformer}(final_attn_token_to_image\.\w+){END}", rf"{decoder}.transformer.\1.\2")
    yield Rule(rf"{transformer}norm_final_attn{END}", rf"{decoder}.transformer.layer_norm_final_attn.\1")
    for number, name in ((0, "upscale_conv1"), (1, "upscale_layer_norm"), (3, "upscale_conv2")):
        yield Rule(rf"mask_decoder\.output_upscaling\.{number}{END}", rf"{decoder}.{name}.\1")
    yield from _perceptron(r"mask_decoder\.output_hypernetworks_mlps\.(\d+)", r"output_hypernetworks_mlps.\1", layers=3)
    head = config.mask_decoder.iou_layers
    yield from _perceptron(r"mask_decoder\.iou_prediction_head()", r"iou_prediction_head\1", layers=head)


def _perceptron(source: str, target: str, *, layers: int) -> Iterator[Rule]:
    """Yield the rules of one of SAM's small networks; transformers has separate names for the first and last layer.

    Args:
        source: Regular expression with one group.
        target: Name below the decoder.
        layers: How many layers the network has, at least 2.
    """
    names = ("proj_in", *(f"layers.{index}" for index in range(layers - 2)), "proj_out")
    for number, name in enumerate(names):
        yield Rule(rf"{source}\.layers\.{number}{END}", rf"mask_decoder.decoder.{target}.{name}.\2")


def rule_for(name: str, rules: Sequence[Rule]) -> tuple[Rule, str] | None:
    """Return the first rule that matches a name, and the name in the model; None if no rule matches."""
    for rule in rules:
        target = rule.of(name)
        if target is not None:
            return rule, target
    return None
