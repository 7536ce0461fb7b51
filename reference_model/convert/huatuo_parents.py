"""Opens the checkpoints of a model of HuatuoGPT-Vision's architecture: LLaVA's layout, or a language model and CLIP."""

from pathlib import Path

from reference_model.config import LlavaModelConfig
from reference_model.convert import config_check, layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.m3d_tokenizers import read_language_tokenizer
from reference_model.convert.parents import Files, Parents, check_merged, folder_of, open_sources
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
    option, language = files.language_model("llava", "llm")
    beside = folder_of(language) / TOWER
    clip = files.clip or (beside if files.llava and beside.is_dir() else None)
    sources = (
        Source(
            option=option,
            checkpoint=open_checkpoint(language),
            rules=layouts.llava_rules(),
            base=config.prompt.base_vocabulary,
        ),
        *open_sources(
            ("--projector", files.projector, layouts.projector_rules(), ("connector",)),
            ("--clip", clip, layouts.clip_rules(), ("vision",)),
        ),
    )
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
