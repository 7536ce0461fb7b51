"""Converts published checkpoints into a model folder."""

import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from harness.errors import SpecError
from harness.records import Json
from reference_model.checkpoints.atomic_folders import atomic_folder
from reference_model.checkpoints.checkpoint import WEIGHTS, About, write_about
from reference_model.config import AnyConfig, EntityModelConfig, LlavaModelConfig, ModelConfig, VolumeModelConfig
from reference_model.convert import huatuo_parents, m3d_parents, medplib_parents, mimo_parents
from reference_model.convert.parents import Files
from reference_model.convert.tensor_map import Source, TensorMap, make_plan
from reference_model.convert.tokenizer import FoundTokenizer
from reference_model.convert.writing import Advance, Precision, TensorEntry, entries, write_tensors
from reference_model.modeling.build import build_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A prepared conversion, of which nothing is written yet.

    Attributes:
        about: The description to store beside the weights.
        plan: The source of every tensor.
        written: The tensors of the file, in the order in which they are written.
        tokenizer: The tokenizer that was found.
        text_tokenizer: The tokenizer of a text tower beside the language model, if one was found.
    """

    about: About
    plan: TensorMap
    written: tuple[TensorEntry, ...]
    tokenizer: FoundTokenizer
    text_tokenizer: FoundTokenizer | None = None

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
    config: AnyConfig, files: Files, *, allowed: Collection[str] = (), precision: Precision | None = None
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
    if isinstance(config, EntityModelConfig):
        parents = mimo_parents.open_parents(config, files)
    elif isinstance(config, VolumeModelConfig):
        parents = m3d_parents.open_parents(config, files)
    elif isinstance(config, LlavaModelConfig):
        parents = huatuo_parents.open_parents(config, files)
    else:
        parents = medplib_parents.open_parents(config, files)
    with torch.device("meta"):  # only names and shapes: the model never has to fit into memory
        model = build_model(config, experts=parents.experts)
    plan = make_plan(model, parents.sources, (*allowed, *parents.new), parents.remedies)
    text = parents.text_tokenizer
    if parents.released and isinstance(config, ModelConfig | VolumeModelConfig):
        config = replace(config, released=True)
    about = About(
        config=config,
        experts=parents.experts,
        origin={"converted": _origin(config, parents.sources, plan)},
        saved_tokenizer=parents.tokenizer.saved,
        text_tokenizer=text.saved if text else None,
    )
    return Conversion(
        about=about,
        plan=plan,
        written=entries(model, plan, precision),
        tokenizer=parents.tokenizer,
        text_tokenizer=text,
    )


def _check_room(out: Path, size: int) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SpecError(f"{out}: expected a folder that is not there yet; choose another --out")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(parent).free
    if free < size:
        raise SpecError(f"{out}: expected {size / 1e9:.1f} GB of free disk for the weights, found {free / 1e9:.1f} GB")


def _origin(config: AnyConfig, sources: Collection[Source], plan: TensorMap) -> Mapping[str, Json]:
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
