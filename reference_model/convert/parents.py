"""The checkpoints that a model is converted from, as every architecture describes them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from harness.errors import DataError, SpecError
from reference_model.convert.checkpoint_files import Checkpoint, open_checkpoint
from reference_model.convert.layouts import Rule
from reference_model.convert.tensor_map import Source
from reference_model.convert.tokenizer import FoundTokenizer
from reference_model.inputs.conversation import SpecialTokens

# Part of the name of every tensor of a LoRA adapter.
_ADAPTER = ".lora_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The checkpoints of a conversion, each a file or a folder; their names are those of the options.

    Attributes:
        llava: LLaVA-1.5, or only its language model.
        medplib: MedPLIB, with all its parts.
        projector: Only LLaVA's projector, or only M3D's perceiver.
        clip: CLIP, or only its image tower.
        sam_med2d: SAM-Med2D.
        sam: SAM.
        llm: The language model that training starts from.
        m3d_lamed: M3D-LaMed, with all its parts.
        m3d_clip: M3D-CLIP, with both towers.
        vision: Only M3D-CLIP's image tower.
        segvol: SegVol.
        tokenizer: The tokenizer of the language model; None: the one beside it.
        text_tokenizer: The tokenizer of M3D-CLIP's text tower; None: the one beside `m3d_clip`.
    """

    llava: Path | None = None
    medplib: Path | None = None
    projector: Path | None = None
    clip: Path | None = None
    sam_med2d: Path | None = None
    sam: Path | None = None
    llm: Path | None = None
    m3d_lamed: Path | None = None
    m3d_clip: Path | None = None
    vision: Path | None = None
    segvol: Path | None = None
    tokenizer: Path | None = None
    text_tokenizer: Path | None = None

    def check_options(self, known: Collection[str], preset: str) -> None:
        """Check that only files of one architecture are given.

        Args:
            known: The attributes that the architecture has a use for.
            preset: The name of the preset, for the message.

        Raises:
            SpecError: Others are given; all of them are named.
        """
        names = [field.name for field in fields(self)]
        strange = [name for name in names if name not in known and getattr(self, name) is not None]
        if strange:
            wanted, found = (", ".join(map(option, some)) for some in (filter(known.__contains__, names), strange))
            raise SpecError(f"convert: expected for preset {preset} some of {wanted}; found {found}")

    def language_model(self, one: str, other: str) -> tuple[str, Path]:
        """Return the option and the path of the checkpoint that brings the language model.

        Args:
            one: The attribute of a checkpoint that has it.
            other: That of another.

        Raises:
            SpecError: Neither is given, or both are.
        """
        given = [(option(name), getattr(self, name)) for name in (one, other) if getattr(self, name) is not None]
        if len(given) != 1:
            found = "both" if given else "neither"
            wanted = f"either {option(one)} or {option(other)}, which brings the language model"
            raise SpecError(f"convert: expected {wanted}; found {found}")
        return given[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parents:
    """The opened checkpoints of a model, compared with its preset in all but names and shapes.

    Attributes:
        sources: The checkpoints, that of the language model first.
        tokenizer: The tokenizer of the language model.
        text_tokenizer: The tokenizer of a text tower beside the language model; None: the model has no such tower.
        released: Whether the checkpoint is a released model, which follows the rules of its code.
        experts: Whether the model has experts.
        new: Patterns of the parts that no checkpoint is expected to hold.
        remedies: See `tensor_map.make_plan`.
    """

    sources: tuple[Source, ...]
    tokenizer: FoundTokenizer
    text_tokenizer: FoundTokenizer | None = None
    released: bool
    experts: bool = False
    new: tuple[str, ...]
    remedies: Mapping[str, str]


def option(name: str) -> str:
    """Return the command-line option of an attribute of `Files`."""
    return f"--{name.replace('_', '-')}"


def folder_of(place: Path) -> Path:
    """Return the folder of the files beside a checkpoint."""
    return place if place.is_dir() else place.parent


def open_sources(
    *rows: tuple[str, Path | None, Sequence[Rule], tuple[str, ...]],
) -> Iterator[Source]:
    """Yield the checkpoints that are given, opened; a row has option, path, rules and parts, as `Source` has them."""
    for name, path, rules, parts in rows:
        if path is not None:
            yield Source(option=name, checkpoint=open_checkpoint(path), rules=rules, parts=parts)


def check_added(tokenizer: FoundTokenizer, special: SpecialTokens, whose: str) -> None:
    """Compare the tokens that a released model added with ours; other ids would swap their embeddings.

    Args:
        tokenizer: The tokenizer that was found; it may list no added tokens.
        special: Our special tokens.
        whose: The name of the released model, for messages.

    Raises:
        DataError: A token has another id, or is none of ours.
    """
    for name, token in tokenizer.added.items():
        if name not in special.names or special.id(name) != token:
            wanted = f"id {special.id(name)}" if name in special.names else "no such token"
            raise DataError(f"{tokenizer.file}: added token {name}: expected {wanted} as in {whose}, found id {token}")


def check_merged(checkpoint: Checkpoint, where: str, remedy: str) -> None:
    """Check that a checkpoint has no adapters beside its weights.

    Args:
        checkpoint: Its names are read.
        where: The option of the checkpoint.
        remedy: How they are merged.

    Raises:
        DataError: It has some.
    """
    adapters = [name for name in checkpoint.tensors if _ADAPTER in name]
    if adapters:
        raise DataError(
            f"{where}: expected adapters merged into the weights, found {len(adapters)} tensors of adapters "
            f"({adapters[0]}, ...); {remedy}"
        )
