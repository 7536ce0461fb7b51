"""Tiny checkpoints of the SAM family with random weights, of transformers' own classes."""

from pathlib import Path
from typing import Any

EDGE = 64
MEAN, STD = [0.4, 0.5, 0.6], [0.2, 0.25, 0.3]
_DECODER: dict[str, Any] = {
    "hidden_size": 16,
    "mlp_dim": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}


def make(family: str, folder: Path) -> Path:
    """Write a checkpoint of `sam`, `sam2` or `sam3` for images of 64 x 64 pixels; return its folder."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    # Which mask is the best must not hang on a draw.
    torch.manual_seed(7)
    {"sam": _sam, "sam2": _sam2, "sam3": _sam3}[family](folder)
    return folder


def widened(model: Any) -> Any:
    """Return a model whose random weights tell prompts and images apart; its own are next to nothing."""
    import torch

    with torch.no_grad():
        for values in model.parameters():
            if values.dim() > 1:
                values.normal_(std=0.3)
    return model


def _sam(folder: Path) -> None:
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig
    from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

    config = SamConfig(
        vision_config=SamVisionConfig(
            hidden_size=16,
            output_channels=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=EDGE,
            patch_size=8,
            mlp_dim=16,
            window_size=4,
            global_attn_indexes=[0],
            num_pos_feats=8,
        ).to_dict(),
        prompt_encoder_config=SamPromptEncoderConfig(
            hidden_size=16, image_size=EDGE, patch_size=8, mask_input_channels=4
        ).to_dict(),
        mask_decoder_config=SamMaskDecoderConfig(**_DECODER).to_dict(),
    )
    widened(SamModel(config)).save_pretrained(folder)
    SamImageProcessorPil(
        size={"longest_edge": EDGE},
        pad_size={"height": EDGE, "width": EDGE},
        mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    ).save_pretrained(folder)


def _sam2(folder: Path) -> None:
    import json

    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2MaskDecoderConfig,
        Sam2Model,
        Sam2PromptEncoderConfig,
        Sam2VisionConfig,
    )

    backbone = Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[EDGE, EDGE],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 1, 1],
        window_size_per_stage=[8, 4, 2, 2],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[2, 2],
    )
    config = Sam2Config(
        vision_config=Sam2VisionConfig(
            backbone_config=backbone.to_dict(),
            backbone_channel_list=[64, 32, 16, 8],
            backbone_feature_sizes=[[16, 16], [8, 8], [4, 4]],
            fpn_hidden_size=16,
        ).to_dict(),
        prompt_encoder_config=Sam2PromptEncoderConfig(
            hidden_size=16, image_size=EDGE, patch_size=16, mask_input_channels=4
        ).to_dict(),
        mask_decoder_config=Sam2MaskDecoderConfig(**_DECODER).to_dict(),
    )
    widened(Sam2Model(config)).save_pretrained(folder)
    # Its processor cannot be made without torchvision; this is what it would write.
    processor = {
        "image_processor_type": "Sam2ImageProcessor",
        "size": {"height": EDGE, "width": EDGE},
        "image_mean": MEAN,
        "image_std": STD,
        "rescale_factor": 1 / 255,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


def _sam3(folder: Path) -> None:
    import json

    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPTokenizer, Sam3Config, Sam3Model, Sam3VisionConfig

    layers: dict[str, Any] = {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}
    # Two layers: attention within windows, then over the whole image.
    backbone = {
        **layers,
        "model_type": "sam3_vit_model",
        "num_hidden_layers": 2,
        "global_attn_indexes": [1],
        "window_size": 4,
        "image_size": EDGE,
        "pretrain_image_size": EDGE // 2,
        "patch_size": 8,
    }
    letters = sorted(ByteLevel.alphabet())
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    text = {
        **layers,
        "model_type": "clip_text_model",
        "vocab_size": len(words),
        "num_hidden_layers": 1,
        "projection_dim": 16,
        "max_position_embeddings": 32,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    }
    config = Sam3Config(
        vision_config=Sam3VisionConfig(
            backbone_config=backbone, fpn_hidden_size=16, backbone_feature_sizes=[[32, 32], [16, 16], [8, 8]]
        ).to_dict(),
        text_config=text,
        geometry_encoder_config={**layers, "num_layers": 1},
        detr_encoder_config={**layers, "num_layers": 1},
        detr_decoder_config={**layers, "num_layers": 1, "num_queries": 6},
        mask_decoder_config={"hidden_size": 16, "num_attention_heads": 2},
    )
    widened(Sam3Model(config)).save_pretrained(folder)
    CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[]).save_pretrained(folder)
    # Its image processor cannot be made without torchvision; this is what Sam3Processor would write.
    processor = {
        "image_processor": {
            "image_processor_type": "Sam3ImageProcessor",
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "size": {"height": EDGE, "width": EDGE},
            "mask_size": {"height": 32, "width": 32},
            "image_mean": MEAN,
            "image_std": STD,
            "resample": 2,
            "rescale_factor": 1 / 255,
        },
        "point_pad_value": -10,
        "processor_class": "Sam3Processor",
        "target_size": EDGE,
    }
    (folder / "processor_config.json").write_text(json.dumps(processor))
