"""Opens the checkpoints of a model of HuatuoGPT-Vision's architecture: LLaVA's layout, or a language model and CLIP."""

from collections.abc import Iterator
from pathlib import Path

from harness.errors import SpecError
from reference_model.config import LlavaModelConfig
from reference_model.convert import config_check, layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.m3d_tokenizers import read_language_tokenizer
from reference_model.convert.parents import Files, Parents, check_merged, folder_of
from reference_model.convert.tensor_map import Source

OPTIONS = ("llava", "projector", "clip", "llm", "tokenizer")
# HuatuoGPT-Vision is released with its image tower in a folder of the checkpoint.
TOWER = Path("vit/clip_vit_large_patch14_336")


def open_parents(config: LlavaModelConfig, files: Files) -> Parents:
    """Return the checkpoints of a model.

    Raises:
        SpecError: The given files do not make up a model.
        DataError: A file cannot be read, or does not match the preset.
    """
    files.check_options(OPTIONS, config.name)
    language = files.llava or files.llm
    if language is None or (files.llava and files.llm):
        found = "neither" if language is None else "both"
        raise SpecError(
            f"convert: expected either --llava, with its projector, or --llm, a language model alone; found {found}"
        )
    beside = folder_of(language) / TOWER
    clip = files.clip or (beside if files.llava and beside.is_dir() else None)
    sources = tuple(_sources(config, files, language, clip))
    check_merged(sources[0].checkpoint, sources[0].option, "merge them first")
    config_check.check_numbers(folder_of(language), config_check.language_numbers(config), config.name)
    if clip is not None:
        numbers = config_check.tower_numbers(config.vision, "quick_gelu")
        config_check.check_numbers(folder_of(clip), numbers, config.name)
    return Parents(
        sources=sources,
        tokenizer=read_language_tokenizer(files.tokenizer or folder_of(language), config.prompt.base_vocabulary),
        released=False,
        # The first of its two stages starts the connector at random.
        new=() if files.llava else ("connector.*",),
        remedies=layouts.REMEDIES,
    )


def _sources(config: LlavaModelConfig, files: Files, language: Path, clip: Path | None) -> Iterator[Source]:
    """Yield the checkpoints, that of the language model first."""
    beside = (
        ("--llava" if files.llava else "--llm", language, layouts.llava_rules(), ()),
        ("--projector", files.projector, layouts.projector_rules(), ("connector",)),
        ("--clip", clip, layouts.clip_rules(), ("vision",)),
    )
    for name, place, rules, parts in beside:
        if place is not None:
            # Only the first has a vocabulary, behind which there may be rows of padding.
            base = config.prompt.base_vocabulary if place == language else None
            yield Source(option=name, checkpoint=open_checkpoint(place), rules=rules, parts=parts, base=base)
