"""Opens the checkpoints of a model of M3D-LaMed's architecture: a language model, M3D-CLIP and SegVol, or M3D-LaMed."""

from collections.abc import Iterator
from pathlib import Path

from harness.errors import SpecError
from reference_model.config import VolumeModelConfig
from reference_model.convert import config_check, m3d_layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.m3d_tokenizers import read_language_tokenizer, read_text_tokenizer
from reference_model.convert.parents import Files, Parents, check_added, check_merged, folder_of, open_sources
from reference_model.convert.tensor_map import Source
from reference_model.inputs.conversation import VOLUME_SEG
from reference_model.modeling.build import special_tokens

OPTIONS = ("llm", "m3d_lamed", "m3d_clip", "vision", "projector", "segvol", "tokenizer", "text_tokenizer")
# Parts that M3D's training starts at random.
NEW_PARTS = ("perceiver.*", "seg_projector.*")


def open_parents(config: VolumeModelConfig, files: Files) -> Parents:
    """Return the checkpoints of a model.

    Raises:
        SpecError: The given files do not make up a model.
        DataError: A file cannot be read, or does not match the preset.
    """
    base = _check(config, files)
    released = files.m3d_lamed is not None
    sources = tuple(_sources(config, files, exponential=not (released or config.released)))
    special = special_tokens(config)
    if released:
        _check_released(sources[0], files)
    _check_numbers(config, files, special.id(VOLUME_SEG))
    tokenizer = read_language_tokenizer(files.tokenizer or folder_of(base), config.prompt.base_vocabulary)
    if released:
        check_added(tokenizer, special, "M3D-LaMed")
    text_place = files.text_tokenizer or files.m3d_clip
    return Parents(
        sources=sources,
        tokenizer=tokenizer,
        text_tokenizer=read_text_tokenizer(text_place, config.clip.vocabulary) if text_place else None,
        released=released,
        new=() if released else NEW_PARTS,
        remedies=m3d_layouts.REMEDIES,
    )


def _check(config: VolumeModelConfig, files: Files) -> Path:
    """Return the checkpoint of the language model."""
    files.check_options(OPTIONS, config.name)
    _, language = files.language_model("llm", "m3d_lamed")
    if files.m3d_lamed is not None and (files.vision or files.projector):
        raise SpecError("convert: expected --m3d-lamed without --vision and --projector: it has both, trained further")
    return language


def _check_released(lamed: Source, files: Files) -> None:
    merge = "M3D's merge_lora_weights_and_save_hf_model.py does that"
    check_merged(lamed.checkpoint, lamed.option, merge)
    if files.segvol and any(name.startswith(m3d_layouts.SEGMENTER) for name in lamed.checkpoint.tensors):
        raise SpecError("convert: expected --m3d-lamed without --segvol: it has SegVol, trained further")


def _sources(config: VolumeModelConfig, files: Files, *, exponential: bool) -> Iterator[Source]:
    """Yield the checkpoints, that of the language model first."""
    if files.llm is not None:
        base = config.prompt.base_vocabulary
        yield Source(option="--llm", checkpoint=open_checkpoint(files.llm), rules=m3d_layouts.llm_rules(), base=base)
    yield from open_sources(
        ("--m3d-lamed", files.m3d_lamed, m3d_layouts.lamed_rules(), ()),
        ("--m3d-clip", files.m3d_clip, m3d_layouts.m3d_clip_rules(exponential=exponential), ("clip",)),
        ("--vision", files.vision, m3d_layouts.vision_rules(), ("vision",)),
        ("--projector", files.projector, m3d_layouts.projector_rules(), ("perceiver",)),
        ("--segvol", files.segvol, m3d_layouts.segvol_rules(), ("segvol",)),
    )


def _check_numbers(config: VolumeModelConfig, files: Files, seg_id: int) -> None:
    compared = (
        (files.llm, config_check.llm_numbers(config)),
        (files.m3d_lamed, config_check.lamed_numbers(config, seg_id)),
        (files.m3d_clip, config_check.m3d_clip_numbers(config)),
        (files.segvol, config_check.segvol_numbers(config)),
    )
    for place, numbers in compared:
        if place is not None:
            config_check.check_numbers(folder_of(place), numbers, config.name)
