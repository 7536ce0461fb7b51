"""What a checkpoint is, read from its `config.json` alone: no weights, and no import of torch."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import SpecError
from harness.records import Json

Kind = Literal["image_text", "text", "dual"]

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")
# Two towers, one for images and one for words, whose vectors are compared.
DUAL_ENCODERS = frozenset({"align", "altclip", "chinese_clip", "clip", "metaclip_2", "siglip", "siglip2"})
# Keys of the part of a configuration that sees.
VISION = ("vision_config", "vq_config", "visual", "encoder")
SEEING_WRITERS = re.compile(
    r"For(?:ConditionalGeneration|CausalLM|VisionText2Text|Vision2Seq)|VisionEncoderDecoderModel"
)
WRITERS = re.compile(r"ForCausalLM|LMHeadModel")
# Their processors place one image, or they were trained on one.
ONE_IMAGE = frozenset(
    {
        *("blip", "blip-2", "florence2", "git", "instructblip", "kosmos-2", "kosmos-2.5", "paligemma", "pix2struct"),
        *("udop", "vision-encoder-decoder"),
    }
)
# The encoder reads the question, so there is no prefix of the answer whose keys and values could be kept.
ENCODER_DECODERS = frozenset({"florence2", "pix2struct", "t5gemma2", "udop", "vision-encoder-decoder"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A model on disk, or in the cache of the Hugging Face hub.

    Attributes:
        source: What transformers is given: a folder, or a name on the hub.
        revision: The commit of a name on the hub; None for a folder.
        gguf_file: Name of the GGUF file in the folder; None for any other model.
        weights: The folder or file whose bytes are the model's identity.
        config: The content of `config.json`; empty for a GGUF file, which holds its own.
        kind: `image_text` writes words about images and text, `text` about text alone, `dual` embeds both.
    """

    source: str
    revision: str | None
    gguf_file: str | None
    weights: Path
    config: Mapping[str, Json]
    kind: Kind

    @property
    def model_type(self) -> str:
        """The architecture, as transformers names it."""
        return str(self.config.get("model_type", ""))

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the question."""
        return bool(self.config.get("is_encoder_decoder")) or self.model_type in ENCODER_DECODERS

    @property
    def scores(self) -> bool:
        """Whether continuations can be scored; Kosmos-2 wants its image again at every step."""
        return self.kind != "dual" and not self.is_encoder_decoder and self.model_type not in ("kosmos-2", "kosmos-2.5")

    @property
    def takes_one_image(self) -> bool:
        """Whether a request may hold no more than one image."""
        return self.kind == "dual" or self.model_type in ONE_IMAGE


def find(reference: str, *, revision: str | None, gguf_file: str | None) -> Checkpoint:
    """Return the checkpoint that `hf:REFERENCE` names.

    Args:
        reference: A folder, a GGUF file, or a name on the hub such as `llava-hf/llava-1.5-7b-hf`.
        revision: Branch, tag or commit on the hub; None for its main branch.
        gguf_file: Name of a GGUF file in the folder or repository.
    Raises:
        SpecError: There is no such model, or transformers has no class for it that answers.
    """
    path = Path(reference)
    if path.is_file():
        if path.suffix.lower() != ".gguf":
            raise SpecError(
                f"--model hf:{reference}: expected the folder of a model or a GGUF file, found the file {path.name}"
            )
        path, gguf_file = path.parent, path.name
    if path.is_dir():
        if revision is not None:
            raise SpecError(f"--model-args revision: is of a name on the hub, and {reference} is a folder")
        return _in_folder(reference, path, None, gguf_file)
    if path.is_absolute() or not HUB_NAME.fullmatch(reference):
        raise SpecError(
            f"--model hf:{reference}: no such folder; expected one with a config.json, or a name on the hub"
        )
    from huggingface_hub import hf_hub_download

    wanted = gguf_file or "config.json"
    try:
        file = hf_hub_download(reference, wanted, revision=revision)
    except (OSError, ValueError) as error:  # every error of the hub's is one of these
        raise SpecError(
            f"--model hf:{reference}: no folder of this name, and the hub did not give {wanted}: "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    return _in_folder(reference, Path(file).parent, reference, gguf_file)


def _in_folder(reference: str, folder: Path, hub_name: str | None, gguf_file: str | None) -> Checkpoint:
    """Return the checkpoint in a folder; of a name on the hub the folder is a snapshot, named by its commit."""
    source, revision = (str(folder), None) if hub_name is None else (hub_name, folder.name)
    if gguf_file is not None:
        if not (folder / gguf_file).is_file():
            raise SpecError(f"--model-args gguf_file: no file {gguf_file} in {folder}")
        weights = folder if hub_name is not None else folder / gguf_file
        return Checkpoint(
            source=source, revision=revision, gguf_file=gguf_file, weights=weights, config={}, kind="text"
        )
    file = folder / "config.json"
    if not file.is_file():
        ggufs = sorted(path.name for path in folder.glob("*.gguf"))
        remedy = f"; name the file, as in hf:{reference}/{ggufs[0]}" if ggufs else ""
        if (folder / "adapter_config.json").is_file():
            remedy = "; this is a LoRA adapter: merge it into its model first (peft: merge_and_unload)"
        raise SpecError(f"--model hf:{reference}: expected config.json in the folder of a model, found none{remedy}")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"--model hf:{reference}: {file.name} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise SpecError(f"--model hf:{reference}: {file.name}: expected an object, found {type(config).__name__}")
    return Checkpoint(
        source=source,
        revision=revision,
        gguf_file=None,
        weights=folder,
        config=config,
        kind=_kind(reference, config),
    )


def _kind(reference: str, config: Mapping[str, Json]) -> Kind:
    """Return what a model does, by its architecture.

    Raises:
        SpecError: It neither writes nor embeds images and words.
    """
    if config.get("model_type") in DUAL_ENCODERS:
        return "dual"
    names = config.get("architectures")
    architectures = [str(name) for name in names] if isinstance(names, list) else []
    sees = any(isinstance(config.get(key), dict) for key in VISION)
    # Code of the model's own, which runs by --model-args trust_remote_code=true, has names of its own.
    foreign, known = "auto_map" in config, SEEING_WRITERS if sees else WRITERS
    if foreign or any(known.search(name) for name in architectures):
        return "image_text" if sees else "text"
    raise SpecError(
        f"--model hf:{reference}: expected a model that writes text, or embeds images and texts; config.json names "
        f"{', '.join(architectures) or 'no architecture'} of type {config.get('model_type')!r}"
    )
