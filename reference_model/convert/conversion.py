"""Converts published checkpoints into a model folder."""

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.errors import DataError, SpecError
from harness.records import Json
from reference_model.checkpoints.atomic_folders import atomic_folder
from reference_model.checkpoints.checkpoint import WEIGHTS, About, write_about
from reference_model.config import ModelConfig
from reference_model.convert import config_check, layouts
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.tensor_map import Source, TensorMap, make_plan
from reference_model.convert.tokenizer import FoundTokenizer, read_tokenizer
from reference_model.convert.writing import Advance, Precision, TensorEntry, entries, write_tensors
from reference_model.modeling.build import build_model, special_tokens

# MedPLIB's own parts: no public checkpoint holds them, and MedPLIB's training starts them at random.
NEW_PARTS = ("region.*", "projector.*")
# Part of the name of every tensor of DeepSpeed's experts, by which a checkpoint with experts is recognised.
EXPERTS = ".deepspeed_moe."


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The checkpoints of a conversion, each a file or a folder.

    Attributes:
        llava: LLaVA-1.5, or only its language model.
        medplib: MedPLIB, with all its parts.
        projector: Only LLaVA's projector.
        clip: CLIP, or only its image tower.
        sam_med2d: SAM-Med2D.
        tokenizer: The tokenizer; None: the one beside `llava` or `medplib`.
    """

    llava: Path | None = None
    medplib: Path | None = None
    projector: Path | None = None
    clip: Path | None = None
    sam_med2d: Path | None = None
    tokenizer: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A prepared conversion, of which nothing is written yet.

    Attributes:
        about: The description to store beside the weights.
        plan: The source of every tensor.
        written: The tensors of the file, in the order in which they are written.
        tokenizer: The tokenizer that was found.
    """

    about: About
    plan: TensorMap
    written: tuple[TensorEntry, ...]
    tokenizer: FoundTokenizer

    @property
    def size(self) -> int:
        """The size of the weights, in bytes."""
        return sum(entry.size for entry in self.written)

    def write(self, out: Path, advance: Advance) -> None:
        """Write the model folder, all at once.

        Args:
            out: A path that does not exist, or an empty folder.
            advance: See `write_tensors`.

        Raises:
            SpecError: `out` is not empty, or the disk has too little space for the model.
            DataError: A value overflows its precision.
        """
        _check_room(out, self.size)
        with atomic_folder(out) as partial:
            write_tensors(partial / WEIGHTS, self.written, advance)
            write_about(partial, self.about)


def prepare(
    config: ModelConfig, files: Files, *, allowed: Collection[str] = (), precision: Precision | None = None
) -> Conversion:
    """Return a conversion once every tensor of the files and of the model is accounted for.

    Args:
        config: The configuration of the preset.
        files: The checkpoints of the model.
        allowed: See `tensor_map.make_plan`.
        precision: See `writing.entries`.

    Raises:
        SpecError: The given files do not make up a model.
        DataError: A file cannot be read, or does not match the preset.
    """
    base, released = _check(files)
    sources = tuple(_sources(config, files))
    experts = any(EXPERTS in name for name in sources[0].checkpoint.tensors)
    _check_numbers(config, files, experts=experts)
    tokenizer = read_tokenizer(files.tokenizer or _folder(base), config.prompt.base_vocabulary)
    _check_added(config, tokenizer, released=released)
    with torch.device("meta"):  # only names and shapes: the model never has to fit into memory
        model = build_model(config, experts=experts)
    plan = make_plan(model, sources, (*allowed, *(() if released else NEW_PARTS)))
    about = About(
        config=replace(config, released=released or config.released),
        experts=experts,
        origin={"converted": _origin(config, sources, plan)},
        saved_tokenizer=tokenizer.saved,
    )
    return Conversion(about=about, plan=plan, written=entries(model, plan, precision), tokenizer=tokenizer)


def _check(files: Files) -> tuple[Path, bool]:
    """Return the checkpoint of the language model, and whether it is a released MedPLIB."""
    if (files.llava is None) == (files.medplib is None):
        raise SpecError("convert: expected either --llava or --medplib, which brings the language model")
    if files.medplib is not None and (files.projector or files.sam_med2d):
        raise SpecError("convert: expected --medplib without --projector and --sam-med2d: it has both, trained further")
    return (files.llava or files.medplib or Path()), files.medplib is not None


def _sources(config: ModelConfig, files: Files) -> Iterator[Source]:
    """Yield the checkpoints, that of the language model first."""
    rules = layouts.llava_rules() if files.medplib is None else layouts.medplib_rules(config)
    base = config.prompt.base_vocabulary if files.medplib is None else None
    option, place = ("--llava", files.llava) if files.medplib is None else ("--medplib", files.medplib)
    assert place is not None, "_check comes first"
    yield Source(option=option, checkpoint=open_checkpoint(place), rules=rules, base=base)
    beside = (
        ("--projector", files.projector, layouts.projector_rules(), ("connector",)),
        ("--clip", files.clip, layouts.clip_rules(), ("vision",)),
        ("--sam-med2d", files.sam_med2d, layouts.sam_med2d_rules(config), ("pixel_encoder", "mask_decoder")),
    )
    for name, path, known, parts in beside:
        if path is not None:
            yield Source(option=name, checkpoint=open_checkpoint(path), rules=known, parts=parts)


def _check_numbers(config: ModelConfig, files: Files, *, experts: bool) -> None:
    language = config_check.language_numbers(config)
    if files.llava is not None:
        config_check.check_numbers(_folder(files.llava), language, config.name)
    if files.medplib is not None:
        more = config_check.expert_numbers(config) if experts else ()
        config_check.check_numbers(_folder(files.medplib), (*language, *more), config.name)
    if files.clip is not None:
        config_check.check_numbers(_folder(files.clip), config_check.tower_numbers(config), config.name)


def _folder(place: Path) -> Path:
    """Return the folder of the files beside a checkpoint."""
    return place if place.is_dir() else place.parent


def _check_added(config: ModelConfig, tokenizer: FoundTokenizer, *, released: bool) -> None:
    """Compare the added tokens of a released model with ours; other ids would swap their embeddings."""
    special = special_tokens(config)
    if not released or not tokenizer.added:
        return
    for name, token in tokenizer.added.items():
        if name not in special.names or special.id(name) != token:
            wanted = f"id {special.id(name)}" if name in special.names else "no such token"
            raise DataError(f"{tokenizer.file}: added token {name}: expected {wanted} as in MedPLIB, found id {token}")


def _check_room(out: Path, size: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(f"{out}: expected a folder that is not there yet; choose another --out")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < size:
        raise SpecError(f"{out}: expected {size / 1e9:.1f} GB of free disk for the weights, found {free / 1e9:.1f} GB")


def _origin(config: ModelConfig, sources: Collection[Source], plan: TensorMap) -> Mapping[str, Json]:
    """Return the record of the source files for the model folder."""
    # Names and sizes, no paths: a local path is of no use elsewhere, and may contain a user name.
    read = {
        source.option: {
            file.name: file.stat().st_size
            for file in dict.fromkeys(stored.file for stored in source.checkpoint.tensors.values())
        }
        for source in sources
    }
    grown = sorted(name for name, move in plan.moves.items() if move.rows is not None)
    return {"preset": config.name, "files": read, "drawn": list(plan.drawn), "grown": grown}
