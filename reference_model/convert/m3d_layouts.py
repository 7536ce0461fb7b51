"""Maps tensor names of the checkpoints around M3D-LaMed to names in the model, with a reason for each tensor left out.

Names as in the repositories of M3D and SegVol, in MONAI's vision transformer, and in transformers' LLaMA, Phi-3 and
BERT. The model keeps the names below `vision` and `segvol` as they are released, so only their prefixes differ.
"""

from collections.abc import Iterator

from reference_model.convert.layouts import END, Rule, language_rules

# Remedies for parts of M3D-LaMed of which a tensor is in no file.
REMEDIES = {
    "clip": "--m3d-clip brings them",
    "vision": "--vision brings them",
    "perceiver": "--projector brings them, --allow-missing 'perceiver.*' draws them at random",
    "language": "is the folder whole?",
    "seg_projector": "--allow-missing 'seg_projector.*' draws them at random",
    "segvol": "--segvol brings them",
}
# Part of the name of SegVol's tensors in a checkpoint of M3D-LaMed.
SEGMENTER = "model.seg_module."

_SEGVOL = r"((?:image_encoder|prompt_encoder|mask_decoder)\..+)"


def llm_rules() -> tuple[Rule, ...]:
    """Return the rules of a language model alone: LLaMA-2, LLaMA-3, or Phi-3, whose projections are fused."""
    return (*_fused_rules(), *language_rules(r"model\."), Rule(r"lm_head\.weight", "language.lm_head.weight"))


def lamed_rules() -> tuple[Rule, ...]:
    """Return the rules of M3D-LaMed with any of its language models, adapters merged."""
    return (
        *llm_rules(),
        Rule(r"model\.vision_tower\.vision_tower\.(.+)", r"vision.\1"),
        *_perceiver_rules(r"model\."),
        Rule(rf"model\.seg_projector\.([02]){END}", r"seg_projector.\1.\2"),
        Rule(rf"model\.seg_module\.{_SEGVOL}", r"segvol.\1"),
    )


def projector_rules() -> tuple[Rule, ...]:
    """Return the rules of `mm_projector.bin`, in which M3D's first stage saves the perceiver."""
    # The release trains and saves the embeddings, and its next stage assigns them to a name that nothing reads.
    dropped = "embeddings of M3D's first stage, which its second does not read"
    return (*_perceiver_rules(r"(?:.+\.)?"), Rule(r"(?:.+\.)?embed_tokens\.weight", reason=dropped))


def m3d_clip_rules(*, exponential: bool) -> tuple[Rule, ...]:
    """Return the rules of M3D-CLIP.

    Args:
        exponential: Whether the model multiplies by the exponential of its scale, instead of by the scale as released.
    """
    return (
        Rule(r"vision_encoder\.(.+)", r"clip.vision.\1"),
        Rule(r"language_encoder\.pooler\..+", reason="BERT's pooler: M3D-CLIP compares the first token itself"),
        Rule(r"language_encoder\.embeddings\.position_ids", reason="numbers of positions, 0 and up"),
        Rule(r"language_encoder\.((?:embeddings|encoder)\..+)", r"clip.text.\1"),
        Rule(rf"mm_vision_proj{END}", r"clip.image_head.\1"),
        Rule(rf"mm_language_proj{END}", r"clip.text_head.\1"),
        Rule(r"logit_scale", "clip.logit_scale", logarithm=exponential),
    )


def vision_rules() -> tuple[Rule, ...]:
    """Return the rules of the image tower: alone, as in `pretrained_ViT.bin`, or within M3D-CLIP."""
    return (
        Rule(r"(?:language_encoder|mm_vision_proj|mm_language_proj)\..+", reason="M3D-CLIP's comparison with texts"),
        Rule(r"logit_scale", reason="M3D-CLIP's comparison with texts"),
        Rule(r"(?:vision_encoder\.)?((?:cls_token|patch_embedding\.|blocks\.|norm\.).*)", r"vision.\1"),
    )


def segvol_rules() -> tuple[Rule, ...]:
    """Return the rules of SegVol: its port to transformers (`model.*`), or a state of its training (`module.*`)."""
    prefix = r"(?:model\.|module\.)?"
    return (
        Rule(rf"{prefix}text_encoder\..+", reason="SegVol's tower for texts: the language model writes its prompts"),
        Rule(rf"{prefix}{_SEGVOL}", r"segvol.\1"),
    )


def _perceiver_rules(prefix: str) -> Iterator[Rule]:
    """Yield the rules of the perceiver, or of the projector without pooling; `prefix` is a regular expression."""
    yield Rule(rf"{prefix}mm_projector\.projector\.(\d+){END}", r"perceiver.projector.\1.\2")
    yield Rule(rf"{prefix}mm_projector\.linear{END}", r"perceiver.projector.0.\1")


def _fused_rules() -> Iterator[Rule]:
    """Yield the rules of Phi-3's fused projections; the heads of the queries come first, then keys, then values."""
    layer = r"language.layers.\1."
    for fused, parts in (("self_attn.qkv", ("q", "k", "v")), ("mlp.gate_up", ("gate", "up"))):
        block, _, name = fused.partition(".")
        yield Rule(
            rf"model\.layers\.(\d+)\.{block}\.{name}_proj\.weight",
            stacked=tuple(f"{layer}{block}.{part}_proj.weight" for part in parts),
        )
