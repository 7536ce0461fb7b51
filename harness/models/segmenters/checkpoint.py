"""What a checkpoint of the SAM family is, read from its `config.json` alone: no weights, and no import of torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import SpecError
from harness.models.huggingface.checkpoint import HUB_NAME

Family = Literal["sam", "sam2", "sam3"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a type of configuration holds.

    Attributes:
        family: SAM and MedSAM, SAM 2 and 2.1, or SAM 3.
        points: Whether it segments by boxes and points.
        concepts: Whether it segments by a concept in words.
    """

    family: Family
    points: bool = True
    concepts: bool = False


# By `model_type` of config.json. The hub keeps SAM 2 and SAM 3 as models of videos, whose weights hold those of images;
# that of SAM 3 is a detector of concepts and a tracker by boxes and points, which also exist alone.
KINDS: dict[str, Kind] = {
    "sam": Kind("sam"),
    "sam2": Kind("sam2"),
    "sam2_video": Kind("sam2"),
    "sam3_video": Kind("sam3", concepts=True),
    "sam3_tracker": Kind("sam3"),
    "sam3": Kind("sam3", points=False, concepts=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A segmenter on disk, or in the cache of the Hugging Face hub.

    Attributes:
        source: What transformers is given: a folder, or a name on the hub.
        revision: The commit of a name on the hub; None for a folder.
        weights: The folder whose bytes are the model's identity.
        kind: By its configuration.
    """

    source: str
    revision: str | None
    weights: Path
    kind: Kind


def find(reference: str, *, revision: str | None) -> Checkpoint:
    """Return the checkpoint that `sam:REFERENCE` names.

    Args:
        reference: A folder, or a name on the hub such as `facebook/sam-vit-base`.
        revision: Branch, tag or commit on the hub; None for its main branch.
    Raises:
        SpecError: There is no such model, or it is none of the SAM family in the layout of transformers.
    """
    where, path = f"--model sam:{reference}", Path(reference)
    if path.is_file():
        raise SpecError(
            f"{where}: expected the folder of a model in the layout of transformers, found the file {path.name}; "
            "weights of the first release (.pth, .pt) are converted by transformers' scripts, and the hub holds them "
            "converted, such as facebook/sam-vit-base; the file of SAM-Med2D is sam-med2d:"
        )
    if path.is_dir():
        if revision is not None:
            raise SpecError(f"--model-args revision: is of a name on the hub, and {reference} is a folder")
        return Checkpoint(source=reference, revision=None, weights=path, kind=_kind(where, path))
    if path.is_absolute() or not HUB_NAME.fullmatch(reference):
        raise SpecError(f"{where}: no such folder; expected one with a config.json, or a name on the hub")
    from huggingface_hub import hf_hub_download

    try:
        file = hf_hub_download(reference, "config.json", revision=revision)
    except (OSError, ValueError) as error:  # every error of the hub's is one of these
        raise SpecError(
            f"{where}: no folder of this name, and the hub did not give config.json: "
            f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
        ) from error
    folder = Path(file).parent  # a snapshot, named by its commit
    return Checkpoint(source=reference, revision=folder.name, weights=folder, kind=_kind(where, folder))


def _kind(where: str, folder: Path) -> Kind:
    file = folder / "config.json"
    if not file.is_file():
        raise SpecError(f"{where}: expected config.json in the folder of a model, found none")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{where}: {file.name} cannot be read: {error}") from error
    found = config.get("model_type") if isinstance(config, dict) else None
    if found not in KINDS:
        raise SpecError(
            f"{where}: expected a model of type {', '.join(KINDS)}, config.json says {found!r}; a model that "
            "writes text is hf:, and grounded: joins the two"
        )
    return KINDS[found]
