"""Contextual embeddings of texts and their greedy matching, by bert-score, from a model on this machine.

Two things differ from calling the package. Texts are matched pair by pair, so no padding is matched to and a value does
not depend on its neighbours. And RoBERTa's tokenizer is told to put a blank before the text: the slow tokenizers of
earlier transformers did so on bert-score's request, the present ones silently do not.
"""

import importlib
import importlib.util
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import ModelError
from harness.metrics.metric import Missing
from harness.paths import default_cache
from harness.records import Json
from harness.records.file_digests import WeightsDigests

Item = TypeVar("Item")
Texts = tuple[str, str]
"""A reference and the text that is scored against it, neither blank."""
Triple = tuple[float, float, float]
"""F1, precision and recall."""

DEFAULT_MODEL = "roberta-large"
DEFAULT_LAYERS = 17  # bert-score's choice for roberta-large, and M3D's
PAIRS_AT_ONCE = 256
"""Pairs whose embeddings are in memory together."""
TEXTS_AT_ONCE = 32
_INSTALL = "pip install 'medground[text,models]'"
_WEIGHTS = ("*.safetensors", "*.bin")
_MOST_TOKENS = 100_000  # transformers' stand-in for a tokenizer that states no limit lies far above


def greedy_match(reference: Any, hypothesis: Any, *, padding: int = 0) -> Triple:
    """Return F1, precision and recall of two texts' token embeddings.

    Precision is the mean over the hypothesis's tokens of the largest cosine to any reference token, recall the other
    way round, F1 their harmonic mean. The first and the last token (CLS and SEP) have no weight but may be matched to.

    Args:
        reference: Tensor (tokens, width), first row CLS, last row SEP.
        hypothesis: Likewise.
        padding: Rows of padding behind both texts, as a batch of bert-score has them. A token may be matched to
            padding, at cosine 0; so with none, what is used here, only negative cosines come out lower.
    Returns:
        Cosines: at most 1 and below 0 only for odd models. A text without tokens of its own: 0.
    Source: Zhang et al., ICLR 2020; bert-score's `greedy_cos_idf`.
    """
    if len(reference) <= 2 or len(hypothesis) <= 2:
        return 0.0, 0.0, 0.0
    utilities = importlib.import_module("bert_score.utils")
    sides = [part for tokens in (reference, hypothesis) for part in _padded(tokens, padding)]
    precision, recall, f1 = utilities.greedy_cos_idf(*sides)
    return float(f1), float(precision), float(recall)


def _padded(tokens: Any, padding: int) -> tuple[Any, Any, Any]:
    """Return embeddings, mask and weights of one text as a batch of one; the embeddings are a copy."""
    torch = importlib.import_module("torch")
    mask = torch.tensor([[1.0] * len(tokens) + [0.0] * padding])
    weights = mask.clone()
    weights[0, 0] = weights[0, len(tokens) - 1] = 0.0
    return torch.cat([tokens, torch.ones(padding, tokens.shape[1])])[None], mask, weights


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model with its tokenizer, cut to the layer that is compared."""

    model: Any
    tokenizer: Any
    device: str

    def embed(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return a tensor (tokens, width) for each text, CLS and SEP included, longest texts first in batches."""
        utilities = importlib.import_module("bert_score.utils")
        ordered = sorted(texts, key=lambda text: (-len(text), text))
        found = {}
        for batch in _batches(ordered, TEXTS_AT_ONCE):
            weights: dict[int, float] = defaultdict(lambda: 1.0)
            tokens, mask, _ = utilities.get_bert_embedding(
                batch, self.model, self.tokenizer, weights, device=self.device
            )
            for text, row, length in zip(batch, tokens.cpu(), mask.sum(dim=1).tolist(), strict=True):
                found[text] = row[:length]
        return found

    def scores(self, pairs: Iterable[Texts]) -> dict[Texts, Triple]:
        """Return F1, precision and recall of each pair."""
        ordered = sorted(set(pairs), key=lambda pair: (max(map(len, pair)), pair))
        found = {}
        for batch in _batches(ordered, PAIRS_AT_ONCE):
            embedded = self.embed(sorted({text for pair in batch for text in pair}))
            for pair in batch:
                found[pair] = greedy_match(embedded[pair[0]], embedded[pair[1]])
        return found


def _batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


@cache
def load(folder: Path, layers: int) -> Encoder:
    """Return the model in `folder`, on the GPU where there is one; it is read once per process.

    Raises:
        ModelError: The folder holds no model that bert-score can cut to `layers` layers.
    """
    torch, utilities = importlib.import_module("torch"), importlib.import_module("bert_score.utils")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    importlib.import_module("transformers.utils.logging").disable_progress_bar()
    torn = importlib.import_module("safetensors").SafetensorError
    try:
        tokenizer = _tokenizer(folder)
        model = utilities.get_model(str(folder), layers).float().to(device)
    except (OSError, ValueError, KeyError, AssertionError, RuntimeError, torn) as error:
        raise ModelError(
            f"bertscore: {folder}: expected a model of at least {layers} layers with its tokenizer, got "
            f"{type(error).__name__}: {error}"
        ) from error
    if tokenizer.model_max_length > _MOST_TOKENS:
        tokenizer.model_max_length = _position_limit(model.config)
    return Encoder(model, tokenizer, device)


def _tokenizer(folder: Path) -> Any:
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    if isinstance(tokenizer, transformers.RobertaTokenizer | transformers.GPT2Tokenizer):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), add_prefix_space=True)
    return tokenizer


def _position_limit(config: Any) -> int:
    """Return how many tokens the model has positions for; RoBERTa's begin after its padding token."""
    positions = getattr(config, "max_position_embeddings", None) or 512
    starts_late = "roberta" in str(config.model_type)
    return int(positions) - (int(config.pad_token_id) + 1 if starts_late else 0)


def find_model(model: str, num_layers: int) -> tuple[Path, int]:
    """Return the folder and the layer that the parameters name.

    Raises:
        ModelError: `missing` tells why there is none.
    """
    lacking = missing({"model": model, "num_layers": num_layers})
    folder, layers = _folder(model), num_layers or _known_layers(model)
    if lacking is not None or folder is None or layers is None:
        told = f"{lacking.reason}; {lacking.remedy}" if lacking else "no such model"
        raise ModelError(f"bertscore: {told}")
    return folder, layers


def missing(parameters: Mapping[str, Json]) -> Missing | None:
    """Return what keeps the model from being used; nothing is loaded and no network is asked."""
    if any(importlib.util.find_spec(package) is None for package in ("bert_score", "torch", "transformers")):
        return Missing("bert-score is not installed", _INSTALL)
    model, layers = str(parameters.get("model", DEFAULT_MODEL)), int(parameters.get("num_layers", 0))
    folder = _folder(model)
    if folder is None or not any(True for pattern in _WEIGHTS for _ in folder.glob(pattern)):
        return Missing(
            f"model '{model}' is no folder with weights and not in the local hub cache",
            f"'hf download {model}', or set the parameters model (a folder) and num_layers",
        )
    wanted = layers or _known_layers(model)
    if wanted is None:
        return Missing(f"bert-score names no layer for model '{model}'", "set the parameter num_layers")
    most = _hidden_layers(folder)
    if not 0 < wanted <= most:
        return Missing(f"model '{model}' has layers 1 to {most}, not {wanted}", "set the parameter num_layers")
    return None


def _folder(model: str) -> Path | None:
    """Return the folder of a model: itself, or its snapshot in the local hub cache; None where there is neither."""
    if (Path(model) / "config.json").is_file():
        return Path(model).resolve()
    hub = importlib.import_module("huggingface_hub")
    try:
        found = hub.try_to_load_from_cache(model, "config.json")
    except ValueError:  # no name that the hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


def _known_layers(model: str) -> int | None:
    """Return the layer that bert-score names for a model of the hub; None for others."""
    if model == DEFAULT_MODEL:
        return DEFAULT_LAYERS
    if Path(model).is_dir():
        return None
    layers: Mapping[str, int] = importlib.import_module("bert_score.utils").model2layers
    return layers.get(model)


def _hidden_layers(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(
        next((config[name] for name in ("num_hidden_layers", "n_layer", "n_layers", "num_layers") if name in config), 0)
    )


def describe(parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return model, layers, digest of its files and the versions that compute the score; no folder of this machine."""
    if missing(parameters) is not None:
        return {}
    model, layers = str(parameters.get("model", DEFAULT_MODEL)), int(parameters.get("num_layers", 0))
    folder, layers = find_model(model, layers)
    return {
        "model": Path(model).name if Path(model).is_dir() else model,
        "num_layers": layers,
        "digest": WeightsDigests(default_cache() / "weights").of(folder),
        "bert_score": metadata.version("bert-score"),
        "transformers": metadata.version("transformers"),
    }
