"""Builds a model from its configuration."""

import torch
from torch import nn

from reference_model.config import AnyConfig, EntityModelConfig, LlavaModelConfig, ModelConfig, VolumeModelConfig
from reference_model.inputs.conversation import SEG, VOLUME_SEG, SpecialTokens
from reference_model.modeling.input_aligner import InputAligner, VisualPromptEncoder
from reference_model.modeling.language import build_language
from reference_model.modeling.llava import LlavaModel
from reference_model.modeling.m3d_clip import build_clip
from reference_model.modeling.m3d_model import SegProjector, VolumeGroundingModel
from reference_model.modeling.mask_decoder import PromptProjector, build_mask_decoder
from reference_model.modeling.mask_decoder_3d import build_segvol
from reference_model.modeling.model import EntityGroundingModel, PixelGroundingModel
from reference_model.modeling.moe import Router
from reference_model.modeling.pixel_encoder import build_pixel_encoder
from reference_model.modeling.region_encoder import RegionEncoder
from reference_model.modeling.vision import Connector, build_vision
from reference_model.modeling.vision_3d import SpatialPoolingPerceiver, build_vision_3d

AnyModel = PixelGroundingModel | EntityGroundingModel | VolumeGroundingModel | LlavaModel


def build_model(config: AnyConfig, *, experts: bool = True) -> AnyModel:
    """Return the model of a configuration, randomly initialised with torch's generator, on the default device.

    Args:
        config: The numbers of the model.
        experts: Whether the feed-forward parts are experts, as from stage IV on, or dense, as in the stages before; a
            model of another architecture than MedPLIB's has none.
    """
    if isinstance(config, EntityModelConfig):
        return build_entity_model(config)
    if isinstance(config, VolumeModelConfig):
        return build_volume_model(config)
    if isinstance(config, LlavaModelConfig):
        return build_llava(config)
    return build_image_model(config, experts=experts)


def build_image_model(config: ModelConfig, *, experts: bool = True) -> PixelGroundingModel:
    """Return the model of a configuration of MedPLIB; see `build_model`."""
    special = special_tokens(config)
    width = config.language.width
    return PixelGroundingModel(
        vision=build_vision(config.vision),
        connector=Connector(vision_width=config.vision.width, language_width=width),
        region=RegionEncoder(
            adapter=nn.Linear(config.vision.width, width),
            points=config.region.points,
            alignment=config.region.alignment,
        ),
        language=build_language(
            config.language,
            config.moe if experts else None,
            vocabulary=special.total,
            padding_takes_capacity=config.released,
        ),
        projector=PromptProjector(language_width=width, channels=config.pixel_encoder.channels),
        pixel_encoder=build_pixel_encoder(config.pixel_encoder),
        mask_decoder=build_mask_decoder(config.mask_decoder, config.pixel_encoder),
        seg_id=special.id(SEG),
        pixel_side=config.pixel_encoder.image_size,
        geometry="released" if config.released else "correct",
    )


def build_entity_model(config: EntityModelConfig) -> EntityGroundingModel:
    """Return the model of a configuration of MIMO; see `build_model`."""
    special, width, channels = special_tokens(config), config.language.width, config.pixel_encoder.channels
    return EntityGroundingModel(
        # OpenCLIP's ViT-H/14: OpenAI released none.
        vision=build_vision(config.vision, activation="gelu"),
        connector=Connector(vision_width=config.vision.width, language_width=width),
        prompt_encoder=VisualPromptEncoder(channels=channels, language_width=width),
        aligner=InputAligner(config.aligner, language_width=width) if config.aligner.queries else None,
        language=build_language(config.language, None, vocabulary=special.total),
        projector=PromptProjector(language_width=width, channels=channels),
        pixel_encoder=build_pixel_encoder(config.pixel_encoder),
        mask_decoder=build_mask_decoder(config.mask_decoder, config.pixel_encoder),
        seg_id=special.id(SEG),
        pixel_side=config.pixel_encoder.image_size,
    )


def build_volume_model(config: VolumeModelConfig) -> VolumeGroundingModel:
    """Return the model of a configuration of M3D-LaMed; see `build_model`."""
    special, width = special_tokens(config), config.language.width
    return VolumeGroundingModel(
        clip=build_clip(config),
        vision=build_vision_3d(config.vision, class_token=True),
        perceiver=SpatialPoolingPerceiver(
            config.perceiver, cells=config.vision.cells, vision_width=config.vision.width, language_width=width
        ),
        language=build_language(config.language, None, vocabulary=special.total),
        seg_projector=SegProjector(language_width=width, channels=config.segmentation.width),
        segvol=build_segvol(config.segmentation, config.mask_decoder),
        seg_id=special.id(VOLUME_SEG),
        first_token_counts=not config.released,
    )


def build_llava(config: LlavaModelConfig) -> LlavaModel:
    """Return the model of a configuration of HuatuoGPT-Vision; see `build_model`."""
    return LlavaModel(
        vision=build_vision(config.vision),
        connector=Connector(vision_width=config.vision.width, language_width=config.language.width),
        language=build_language(config.language, None, vocabulary=special_tokens(config).total),
    )


def special_tokens(config: AnyConfig) -> SpecialTokens:
    """Return the special tokens of a configuration."""
    if isinstance(config, VolumeModelConfig):
        return SpecialTokens.m3d(config.prompt.base_vocabulary)
    if isinstance(config, EntityModelConfig):
        return SpecialTokens.mimo(config.prompt.base_vocabulary)
    if isinstance(config, LlavaModelConfig):
        return SpecialTokens(config.prompt.base_vocabulary, ())
    return SpecialTokens.after(config.prompt.base_vocabulary, fillers=config.prompt.fillers)


def cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Turn the parameters of a model into `dtype` in place; routers and encoded positions stay in single precision."""
    # Only parameters: the buffers hold angles and positions, which would lose precision. A router in 16 bits would pick
    # other experts.
    for module in model.modules():
        if not isinstance(module, Router):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
