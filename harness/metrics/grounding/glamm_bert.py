"""GLaMM's recall with the text similarity of its released code: the cosine of two mean BERT embeddings."""

import importlib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import ModelError
from harness.metrics.family import Protocol
from harness.metrics.grounding.mask_to_entity import GLAMM_RECALL, glamm_recall
from harness.metrics.metric import Floats, Metric, Missing, Outcome, Parameter, Resource
from harness.metrics.reports import bert_encoder
from harness.records import Json, Prediction, Sample

DEFAULT_MODEL = "bert-base-uncased"
_MOST_TOKENS = 512  # BERT has no more positions
_ANY_LAYER = 1  # every model has it; the similarity uses the last layer whatever this says


def phrase_similarity(folder: Path, first: str, second: str) -> float:
    """Return the cosine of the two texts' mean last hidden states, CLS and SEP included, in single precision.

    The value lies in [-1, 1]; a text has similarity 1 to itself.

    Args:
        folder: A BERT model with its tokenizer.
        first, second: Names of entities.
    Raises:
        ModelError: The folder holds no such model.
    Source: mbzuai-oryx/groundingLMM, eval/gcg/evaluate.py.
    """
    ours, theirs = _embedding(folder, first), _embedding(folder, second)
    return float(ours @ theirs)


# Names of entities recur from sample to sample.
@lru_cache(maxsize=65_536)
def _embedding(folder: Path, text: str) -> Floats:
    """Return the mean of the last hidden states, scaled to length 1, float32 (hidden size,)."""
    torch = importlib.import_module("torch")
    tokenizer, model = _load(folder)
    inputs = tokenizer(text, return_tensors="pt", max_length=_MOST_TOKENS, truncation=True)
    with torch.inference_mode():
        mean = model(**inputs).last_hidden_state[0].mean(dim=0).numpy()
    unit: Floats = mean / np.linalg.norm(mean)
    return unit


@cache
def _load(folder: Path) -> tuple[Any, Any]:
    transformers = importlib.import_module("transformers")
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        model = transformers.AutoModel.from_pretrained(str(folder), local_files_only=True).float().eval()
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"glamm_recall: {folder}: expected a BERT model with its tokenizer, got {type(error).__name__}: {error}"
        ) from error
    return tokenizer, model


@cache  # the hub's cache would otherwise be searched once per sample
def _folder(model: str) -> Path:
    return bert_encoder.find_model(model, _ANY_LAYER)[0]


def _score(sample: Sample, prediction: Prediction, *, model: str = DEFAULT_MODEL) -> Outcome:
    """Return (matches, target names) of one image; names are alike from a cosine of 0.5 on."""
    folder = _folder(model)
    return glamm_recall(lambda target, name: phrase_similarity(folder, target, name), sample, prediction)


def _parameters(parameters: Mapping[str, Json]) -> dict[str, Json]:
    return {"model": parameters.get("model", DEFAULT_MODEL), "num_layers": _ANY_LAYER}


def missing(parameters: Mapping[str, Json]) -> Missing | None:
    """Return the reason why the model cannot be used, None if it can; nothing is loaded or downloaded."""
    wanted = _parameters(parameters)
    lacking = bert_encoder.missing(wanted)
    if lacking is None:
        return None
    remedy = f"pip install 'medground[text,models]' and 'hf download {wanted['model']}', or set the parameter model"
    return Missing(lacking.reason, f"{remedy} to a folder")


def describe(parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the name of the model, the digest of its files and the version of transformers."""
    found = bert_encoder.describe(_parameters(parameters))
    return {name: found[name] for name in ("model", "digest", "transformers") if name in found}


_BERT = Protocol(
    "bert",
    version=1,
    score=_score,
    parameters=(
        Parameter(
            name="model",
            default=DEFAULT_MODEL,
            summary="A folder, or a hub name that is in the local cache; nothing is downloaded.",
        ),
    ),
    resource=Resource(name="phrase model", missing=missing, describe=describe),
    certificate="A recall: names and masks that the target lacks cost nothing.",
    summary="GLaMM's recall as released: IoU 0.5 and a BERT cosine of 0.5; the search stops early.",
    source="eval/gcg/evaluate.py of github.com/mbzuai-oryx/groundingLMM",
)

METRICS: tuple[Metric, ...] = (GLAMM_RECALL.row(_BERT),)
