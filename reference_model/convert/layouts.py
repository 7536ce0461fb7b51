"""Maps tensor names of published checkpoints to names in the model, with a reason for each tensor left out.

Names as in LLaVA-1.5 and its port to transformers, in CLIP's port to transformers, and in the repositories of SAM-Med2D
and MedPLIB.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from reference_model.config import ImageModelConfig, ModelConfig


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule for the tensors whose names match a pattern.

    Attributes:
        pattern: Regular expression that matches the whole name.
        target: Name in the model, with references to the groups of the pattern; empty if the tensor is left out.
        reason: The reason why the tensor is left out.
        stacked: Names in the model, instead of a target, of the tensors whose rows this one holds one after the other.
        logarithm: Whether the model has the logarithm of the tensor.
    """

    pattern: str
    target: str = ""
    reason: str = ""
    stacked: tuple[str, ...] = ()
    logarithm: bool = False

    def of(self, name: str) -> str | None:
        """Return the name in the model, empty if the tensor is left out; None if the rule does not match."""
        found = re.fullmatch(self.pattern, name)
        return None if found is None else found.expand(self.target)

    def all_of(self, name: str) -> tuple[str, ...]:
        """Return every name in the model; none if the tensor is left out or the rule does not match."""
        found = re.fullmatch(self.pattern, name)
        targets = self.stacked or (self.target,)
        return () if found is None else tuple(found.expand(target) for target in targets if target)


# Remedies for parts of MedPLIB of which a tensor is in no file.
REMEDIES = {
    "vision": "--clip brings them",
    "connector": "--projector brings them, --allow-missing 'connector.*' draws them at random",
    "region": "--allow-missing 'region.*' draws them at random",
    "language": "is the folder whole?",
    "projector": "--allow-missing 'projector.*' draws them at random",
    "pixel_encoder": "--sam-med2d brings them",
    "mask_decoder": "--sam-med2d brings them",
}

END = r"\.(weight|bias)"
_PROJECTIONS = r"(?:gate|up|down)_proj"


def llava_rules() -> tuple[Rule, ...]:
    """Return the rules of LLaVA-1.5: as published, and as earlier and later versions of transformers save it."""
    model = r"(?:language_model\.model\.|model\.language_model\.|model\.)"
    return (
        *language_rules(model),
        Rule(r"(?:language_model\.)?lm_head\.weight", "language.lm_head.weight"),
        Rule(rf"model\.mm_projector\.([02]){END}", r"connector.\1.\2"),
        Rule(rf"(?:model\.)?multi_modal_projector\.linear_1{END}", r"connector.0.\1"),
        Rule(rf"(?:model\.)?multi_modal_projector\.linear_2{END}", r"connector.2.\1"),
        *_tower_rules(r"(?:model\.)?vision_tower\.(?:vision_tower\.)?(?:vision_model\.)?"),
    )


def projector_rules() -> tuple[Rule, ...]:
    """Return the rules of a file with only LLaVA's projector."""
    # Training scripts save it under the name of whatever wrapped the model, so any prefix matches.
    return (
        Rule(rf"(?:.+\.)?mm_projector\.([02]){END}", r"connector.\1.\2"),
        Rule(r"(?:.+\.)?embed_tokens\.weight", reason="embeddings beside a projector: the language model has its own"),
    )


def clip_rules() -> tuple[Rule, ...]:
    """Return the rules of a CLIP checkpoint, with both towers or only the image tower."""
    return (
        Rule(r"text_model\..+", reason="CLIP's tower for texts: the language model reads them"),
        Rule(r"(?:(?:visual|text)_projection\.weight|logit_scale)", reason="CLIP's comparison of images with texts"),
        *_tower_rules(r"(?:vision_model\.)?"),
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
    rules = (
        *_image_encoder_rules(),
        *_prompt_encoder_rules(),
        *_mask_decoder_rules(),
        *_perceptron(r"mask_decoder\.output_hypernetworks_mlps\.(\d+)", r"output_hypernetworks_mlps.\1", layers=3),
        *_perceptron(
            r"mask_decoder\.iou_prediction_head()", r"iou_prediction_head\1", layers=config.mask_decoder.iou_layers
        ),
    )
    return tuple(Rule(prefix + rule.pattern, rule.target) for rule in rules)


def language_rules(model: str) -> Iterator[Rule]:
    """Yield the rules of LLaMA without its head; `model` is a regular expression before every name."""
    part = rf"self_attn\.[qkvo]_proj|mlp\.{_PROJECTIONS}|input_layernorm|post_attention_layernorm"
    yield Rule(rf"{model}(embed_tokens|norm)\.weight", r"language.\1.weight")
    yield Rule(rf"{model}layers\.(\d+)\.((?:{part})\.weight)", r"language.layers.\1.\2")
    yield Rule(rf"{model}layers\.\d+\.self_attn\.rotary_emb\.inv_freq", reason="angles of positions, computed anew")


def _tower_rules(prefix: str) -> Iterator[Rule]:
    yield Rule(rf"{prefix}embeddings\.position_ids", reason="numbers of positions, 0 and up")
    yield Rule(rf"{prefix}((?:embeddings|pre_layrnorm|encoder|post_layernorm)\..+)", r"vision.backbone.\1")


def _image_encoder_rules() -> Iterator[Rule]:
    encoder, block = "pixel_encoder.backbone", r"image_encoder\.blocks\.(\d+)"
    layer = rf"{encoder}.layers.\1"
    yield Rule(r"image_encoder\.pos_embed", f"{encoder}.pos_embed")
    yield Rule(rf"image_encoder\.patch_embed\.proj{END}", rf"{encoder}.patch_embed.projection.\1")
    yield Rule(rf"{block}\.norm([12]){END}", rf"{layer}.layer_norm\2.\3")
    yield Rule(rf"{block}\.attn\.(rel_pos_[hw]|(?:qkv|proj)\.(?:weight|bias))", rf"{layer}.attn.\2")
    yield Rule(rf"{block}\.mlp\.(lin[12]){END}", rf"{layer}.mlp.dense.\2.\3")
    yield Rule(rf"{block}\.Adapter\.channel\.([02])\.weight", rf"{layer}.mlp.adapter.gate.\2.weight")
    yield Rule(rf"{block}\.Adapter\.spatial\.([02])\.weight", rf"{layer}.mlp.adapter.detour.\2.weight")
    yield Rule(rf"{block}\.Adapter\.norm{END}", rf"{layer}.mlp.adapter.norm.\2")
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


def _mask_decoder_rules() -> Iterator[Rule]:
    decoder, transformer = "mask_decoder.decoder", r"mask_decoder\.transformer\."
    layer = rf"{transformer}layers\.(\d+)\."
    yield Rule(r"mask_decoder\.(iou_token|mask_tokens)\.weight", rf"{decoder}.\1.weight")
    yield Rule(rf"{layer}norm([1-4]){END}", rf"{decoder}.transformer.layers.\1.layer_norm\2.\3")
    yield Rule(rf"{layer}((?:self_attn|cross_attn_\w+|mlp)\.\w+){END}", rf"{decoder}.transformer.layers.\1.\2.\3")
    yield Rule(rf"{transformer}(final_attn_token_to_image\.\w+){END}", rf"{decoder}.transformer.\1.\2")
    yield Rule(rf"{transformer}norm_final_attn{END}", rf"{decoder}.transformer.layer_norm_final_attn.\1")
    for number, name in ((0, "upscale_conv1"), (1, "upscale_layer_norm"), (3, "upscale_conv2")):
        yield Rule(rf"mask_decoder\.output_upscaling\.{number}{END}", rf"{decoder}.{name}.\1")


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
