"""Opens the checkpoints that training of MIMO starts from: Vicuna, CLIP ViT-H/14 and SAM; MIMO is not released."""

from collections.abc import Iterator
from pathlib import Path

from reference_model.config import EntityModelConfig
from reference_model.convert import config_check, layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.config_check import check_numbers
from reference_model.convert.parents import Files, Parents, folder_of, open_sources
from reference_model.convert.tensor_map import Source
from reference_model.convert.tokenizer import read_tokenizer

OPTIONS = ("llava", "projector", "clip", "sam", "llm", "tokenizer")
# What training starts at random. The kinds of points that `prompt_encoder` tells apart are SAM's.
NEW_PARTS = ("connector.*", "prompt_encoder.projection.*", "aligner.*", "projector.*")
SAM_PARTS = ("pixel_encoder", "mask_decoder", "prompt_encoder")


def open_parents(config: EntityModelConfig, files: Files) -> Parents:
    """Return the checkpoints of a model.

    Raises:
        SpecError: The given files do not make up a model.
        DataError: A file cannot be read, or does not match the preset.
    """
    files.check_options(OPTIONS, config.name)
    option, language = files.language_model("llm", "llava")
    sources = tuple(_sources(config, files, option, language))
    check_numbers(folder_of(language), config_check.vicuna_numbers(config), config.name)
    if files.clip is not None:
        clip, vision = folder_of(files.clip), config.vision
        check_numbers(clip, config_check.tower_numbers(vision, "gelu"), config.name)
        own = config_check.open_clip_numbers(vision, "gelu")
        check_numbers(clip, own, config.name, name=config_check.OPEN_CLIP_CONFIG)
    # SAM as released is one file without numbers; what is beside it may belong to another model.
    if files.sam is not None and files.sam.is_dir():
        check_numbers(files.sam, config_check.sam_numbers(config), config.name)
    return Parents(
        sources=sources,
        tokenizer=read_tokenizer(files.tokenizer or folder_of(language), config.prompt.base_vocabulary),
        released=False,
        new=NEW_PARTS,
        remedies=layouts.MIMO_REMEDIES,
    )


def _sources(config: EntityModelConfig, files: Files, option: str, language: Path) -> Iterator[Source]:
    """Yield the checkpoints, that of the language model first."""
    yield Source(
        option=option,
        checkpoint=open_checkpoint(language),
        rules=layouts.vicuna_rules(),
        base=config.prompt.base_vocabulary,
    )
    yield from open_sources(
        ("--projector", files.projector, layouts.projector_rules(), ("connector",)),
        ("--clip", files.clip, layouts.clip_rules(), ("vision",)),
    )
    if files.sam is not None:
        sam = open_checkpoint(files.sam)
        ported = any(name.startswith(layouts.PORTED_SAM) for name in sam.tensors)
        rules = layouts.ported_sam_rules() if ported else layouts.sam_rules(config)
        yield Source(option="--sam", checkpoint=sam, rules=rules, parts=SAM_PARTS)
