"""Weights on disk: finished models, and the layout of the folders of models and of resumable states.

    model/                  a finished model
        config.json         its numbers, as a preset has them
        model.json          its words, whether it has experts, and its origin
        model.safetensors
        tokenizer.json      instead of words, if the tokenizer is one of transformers
        text_tokenizer.json     the tokenizer of M3D-CLIP's text tower, if it is not that of the language model
    step-000200/            a stage after 200 steps
        state.json          step and settings
        trained.safetensors     the parameters that the stage trains
        optimizer.safetensors   `<parameter>|<quantity>`

A folder with its final name is complete: see `atomic_folders`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from harness.errors import DataError
from harness.records import Json
from reference_model.checkpoints.atomic_folders import SCHEMA, atomic_folder, read_json, write_json
from reference_model.config import AnyConfig, LlavaModelConfig, VolumeModelConfig
from reference_model.inputs.conversation import SpecialTokens, Tokenizer
from reference_model.inputs.tokenizers import PretrainedTokenizer, SavedTokenizer, WordTokenizer
from reference_model.modeling.build import AnyModel, build_model, special_tokens
from reference_model.modeling.moe import Router
from reference_model.preset_files import read_config

CONFIG, ABOUT, WEIGHTS = "config.json", "model.json", "model.safetensors"
TOKENIZER, TEXT_TOKENIZER = "tokenizer.json", "text_tokenizer.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The description stored beside the weights of a model.

    Attributes:
        config: The numbers of the model.
        words: The words of its tokenizer, in the order of their ids.
        experts: Whether its feed-forward parts are experts.
        origin: How the model was made: recipe, stage, steps, seed and data digests, or the converted files.
        saved_tokenizer: A tokenizer of transformers, used instead of the words; None: the words are used.
        text_tokenizer: That of M3D-CLIP's text tower; None: the tower reads the ids of the language model.
    """

    config: AnyConfig
    words: tuple[str, ...] = ()
    experts: bool
    origin: Mapping[str, Json] = field(default_factory=dict)
    saved_tokenizer: SavedTokenizer | None = None
    text_tokenizer: SavedTokenizer | None = None

    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of the model, special tokens included.

        Raises:
            DataError: The tokenizer does not have as many entries as the model has embeddings.
        """
        special = special_tokens(self.config)
        if self.saved_tokenizer is None:
            exact = isinstance(self.config, VolumeModelConfig | LlavaModelConfig)
            return WordTokenizer(self.words, special=special, exact=exact)
        return PretrainedTokenizer(self.saved_tokenizer.load(), special=special)

    def tokenizer_of_reports(self) -> Tokenizer:
        """Return the tokenizer of M3D-CLIP's text tower."""
        if self.text_tokenizer is None:
            return self.tokenizer()
        loaded = self.text_tokenizer.load()
        return PretrainedTokenizer(loaded, special=SpecialTokens(len(loaded), ()))


def save_model(folder: Path, model: AnyModel, about: About, *, half: bool = False) -> None:
    """Write a model folder, all at once; a model that is already there is replaced.

    Args:
        folder: Created if it is missing, with its parents.
        model: The model, its adapters merged.
        about: The description to store beside the weights.
        half: Whether numbers are stored in 16 bits; routers stay in single precision.
    """
    # A router in 16 bits would send tokens whose probabilities nearly tie to other experts.
    exact = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Router)}
    tensors = {
        name: (value.half() if half and value.is_floating_point() and name not in exact else value).contiguous()
        for name, value in model.state_dict().items()
    }
    with atomic_folder(folder) as partial:
        save_file(tensors, partial / WEIGHTS)
        write_about(partial, about)


def write_about(folder: Path, about: About) -> None:
    """Write the description of a model into its folder."""
    write_json(folder / CONFIG, asdict(about.config))
    stored = {"words": list(about.words), "experts": about.experts, "origin": dict(about.origin)}
    for name, saved in ((TOKENIZER, about.saved_tokenizer), (TEXT_TOKENIZER, about.text_tokenizer)):
        if saved is not None:
            (folder / name).write_text(saved.definition, encoding="utf-8")
            described = {"start": saved.start, "end": saved.end, "sha256": _sha256(saved.definition)}
            stored[name.removesuffix(".json")] = described
    write_json(folder / ABOUT, {"schema": SCHEMA, **stored})


def load_about(folder: Path) -> About:
    """Read the description of a model from its folder.

    Raises:
        DataError: A file is missing or malformed.
        SpecError: The numbers contradict themselves.
    """
    found = read_json(folder / ABOUT)
    try:
        words, experts, origin = tuple(found["words"]), bool(found["experts"]), found["origin"]
        saved, text = (_read_tokenizer(folder / name, found) for name in (TOKENIZER, TEXT_TOKENIZER))
    except (KeyError, TypeError) as error:
        raise DataError(f"{folder / ABOUT}: expected words, experts and origin of a model, found {error}") from error
    config = read_config(folder / CONFIG)
    return About(config=config, words=words, experts=experts, origin=origin, saved_tokenizer=saved, text_tokenizer=text)


def load_model(folder: Path) -> tuple[AnyModel, About]:
    """Return a model in single precision and evaluation mode, and its description.

    Raises:
        DataError: A file is missing or torn, or its tensors are not those of the model.
    """
    about = load_about(folder)
    model = build_model(about.config, experts=about.experts)
    weights, own = read_tensors(folder / WEIGHTS), model.state_dict()
    check_names(weights, own, folder / WEIGHTS)
    # Exported models are stored in 16 bits; the precision of a forward pass is set by autocast.
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in weights.items()})
    return model.eval(), about


def open_model(folder: Path, dtype: torch.dtype) -> tuple[AnyModel, About]:
    """Return a model that answers, in evaluation mode, and its description.

    Tensors that are stored in `dtype` stay in the file, which the system maps into memory; others are converted one at
    a time. Either way the weights are in memory once. Routers and buffers, which hold angles and positions, stay in
    single precision: in 16 bits a router would pick other experts.

    Args:
        folder: A finished model, which must not be written over while the model is in use.
        dtype: float32, bfloat16 or float16.

    Raises:
        DataError: As for `load_model`.
    """
    about = load_about(folder)
    with _empty_parameters():
        model = build_model(about.config, experts=about.experts)
    own = model.state_dict()
    wanted = {name: value.dtype for name, value in own.items()}
    for name, module in model.named_modules():
        if not isinstance(module, Router):
            for part, _ in module.named_parameters(name, recurse=False):
                wanted[part] = dtype
    weights = _mapped(folder / WEIGHTS, wanted)
    check_names(weights, own, folder / WEIGHTS)
    model.load_state_dict(weights, assign=True)
    return model.eval(), about


@contextmanager
def _empty_parameters() -> Iterator[None]:
    """Build models whose parameters have shapes and no memory; buffers that no file holds are as they should be."""
    register = nn.Module.register_parameter

    def register_empty(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is not None:
            parameter = nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)
        register(module, name, parameter)

    nn.Module.register_parameter = register_empty  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def _mapped(path: Path, wanted: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, in the wanted dtypes."""
    found: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - not a mapping
                found[name] = file.get_tensor(name)
                dtype = wanted.get(name, found[name].dtype)
                if found[name].dtype != dtype:
                    # Read through a map of its own: the map of `file` keeps pages while any tensor is in use.
                    with safe_open(path, framework="pt") as again:
                        found[name] = again.get_tensor(name).to(dtype)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected a whole safetensors file: {error}") from error
    return found


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file by name, in the dtypes of the file.

    Raises:
        DataError: The file is missing or torn.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected a whole safetensors file: {error}") from error


def _read_tokenizer(file: Path, about: Mapping[str, Any]) -> SavedTokenizer | None:
    """Return a tokenizer beside weights; None if their description names none."""
    stored = about.get(file.stem)
    if stored is None:
        return None
    try:
        definition = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    # Another tokenizer of the same size would load and give the ids other meanings.
    if _sha256(definition) != stored["sha256"]:
        raise DataError(f"{file}: expected the file that {ABOUT} was written with, found another")
    return SavedTokenizer(definition=definition, start=stored["start"], end=stored["end"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def check_names(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: Path) -> None:
    """Check that tensors have the names and shapes that a model expects.

    Args:
        found: The tensors that were read, of any shape and dtype, by name.
        wanted: The tensors of the model, by name.
        where: The file they were read from.

    Raises:
        DataError: Names are missing or unexpected, or a shape differs.
    """
    missing, unexpected = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unexpected:
        lacks, more = (f"{len(names)} ({names[0]}, ...)" if names else "none" for names in (missing, unexpected))
        raise DataError(f"{where}: expected the tensors of the model; missing {lacks}, unexpected {more}")
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            shapes = f"{tuple(value.shape)}, found {tuple(found[name].shape)}"
            raise DataError(f"{where}: {name}: expected shape {shapes}")
