"""Opens the checkpoints of a model of MedPLIB's architecture: LLaVA-1.5, CLIP and SAM-Med2D, or MedPLIB itself."""

from collections.abc import Iterator
from pathlib import Path

from harness.errors import SpecError
from reference_model.config import ModelConfig
from reference_model.convert import config_check, layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.parents import Files, Parents, check_added, check_merged, folder_of, open_sources
from reference_model.convert.tensor_map import Source
from reference_model.convert.tokenizer import read_tokenizer
from reference_model.modeling.build import special_tokens

OPTIONS = ("llava", "medplib", "projector", "clip", "sam_med2d", "tokenizer")
# MedPLIB's own parts: no public checkpoint holds them, and MedPLIB's training starts them at random.
NEW_PARTS = ("region.*", "projector.*")
# Part of the name of every tensor of DeepSpeed's experts, by which a checkpoint with experts is recognised.
EXPERTS = ".deepspeed_moe."


def open_parents(config: ModelConfig, files: Files) -> Parents:
    """Return the checkpoints of a model.

    Raises:
        SpecError: The given files do not make up a model.
        DataError: A file cannot be read, or does not match the preset.
    """
    base, released = _check(config, files)
    sources = tuple(_sources(config, files))
    if released:
        check_merged(sources[0].checkpoint, "--medplib", "merge them first")
    experts = any(EXPERTS in name for name in sources[0].checkpoint.tensors)
    _check_numbers(config, files, experts=experts)
    tokenizer = read_tokenizer(files.tokenizer or folder_of(base), config.prompt.base_vocabulary)
    if released:
        check_added(tokenizer, special_tokens(config), "MedPLIB")
    return Parents(
        sources=sources,
        tokenizer=tokenizer,
        released=released,
        experts=experts,
        new=() if released else NEW_PARTS,
        remedies=layouts.REMEDIES,
    )


def _check(config: ModelConfig, files: Files) -> tuple[Path, bool]:
    """Return the checkpoint of the language model, and whether it is a released MedPLIB."""
    files.check_options(OPTIONS, config.name)
    _, language = files.language_model("llava", "medplib")
    if files.medplib is not None and (files.projector or files.sam_med2d):
        raise SpecError("convert: expected --medplib without --projector and --sam-med2d: it has both, trained further")
    return language, files.medplib is not None


def _sources(config: ModelConfig, files: Files) -> Iterator[Source]:
    """Yield the checkpoints, that of the language model first."""
    rules = layouts.llava_rules() if files.medplib is None else layouts.medplib_rules(config)
    base = config.prompt.base_vocabulary if files.medplib is None else None
    option, place = files.language_model("llava", "medplib")
    yield Source(option=option, checkpoint=open_checkpoint(place), rules=rules, base=base)
    yield from open_sources(
        ("--projector", files.projector, layouts.projector_rules(), ("connector",)),
        ("--clip", files.clip, layouts.clip_rules(), ("vision",)),
        ("--sam-med2d", files.sam_med2d, layouts.sam_med2d_rules(config), ("pixel_encoder", "mask_decoder")),
    )


def _check_numbers(config: ModelConfig, files: Files, *, experts: bool) -> None:
    language = config_check.language_numbers(config)
    if files.llava is not None:
        config_check.check_numbers(folder_of(files.llava), language, config.name)
    if files.medplib is not None:
        more = config_check.expert_numbers(config) if experts else ()
        config_check.check_numbers(folder_of(files.medplib), (*language, *more), config.name)
    if files.clip is not None:
        config_check.check_numbers(
            folder_of(files.clip), config_check.tower_numbers(config.vision, "quick_gelu"), config.name
        )
