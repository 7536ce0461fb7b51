"""Contextual embeddings of texts and their greedy matching, by bert-score, from a model on this machine.

Two things differ from calling the package. Texts are matched pair by pair, so no token is matched to padding and a
value does not depend on its neighbours in a batch. And RoBERTa's tokenizer is made to put a blank before the text: the
slow tokenizers of earlier transformers did so on bert-score's request, the present ones silently do not.
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
# A reference and the text that is scored against it, neither blank.
Texts = tuple[str, str]
# F1, precision and recall.
Triple = tuple[float, float, float]

DEFAULT_MODEL = "roberta-large"
# bert-score's choice for roberta-large, and M3D's; stated here so that naming it imports nothing.
DEFAULT_LAYERS = 17
# Pairs whose embeddings are in memory together, and texts per pass through the model.
PAIRS_AT_ONCE = 256
TEXTS_AT_ONCE = 32
_INSTALL = "pip install 'medground[text,models]'"
_WEIGHTS = ("*.safetensors", "*.bin")
# transformers gives a tokenizer that states no limit a number far above this one (1e30).
_MOST_TOKENS = 100_000


def greedy_match(reference: Any, hypothesis: Any, *, padding: int = 0) -> Triple:
    """Return F1, precision and recall of two texts' token embeddings.

    Precision is the mean over the hypothesis's tokens of the largest cosine to any reference token, recall the other
    way round, F1 their harmonic mean. The first and the last token (CLS and SEP) have no weight but may be matched to.

    Args:
        reference: Float tensor (tokens, width), first row CLS, last row SEP.
        hypothesis: Likewise.
        padding: Rows of padding behind both texts, as a batch of bert-score has them. A token may be matched to
            padding, at cosine 0; without padding, as it is used here, only negative cosines come out lower.
    Returns:
        Cosines: at most 1, and below 0 only for unusual models. A text without tokens of its own: 0.
    Source: Zhang et al., ICLR 2020; bert-score's `greedy_cos_idf`.
    """
    if len(reference) <= 2 or len(hypothesis) <= 2:
        return 0.0, 0.0, 0.0
    torch, utilities = importlib.import_module("torch"), importlib.import_module("bert_score.utils")
    sides = []
    for tokens in (reference, hypothesis):
        mask = torch.tensor([[1.0] * len(tokens) + [0.0] * padding])
        weights = mask.clone()
        weights[0, 0] = weights[0, len(tokens) - 1] = 0.0
        # `torch.cat` copies, which it must: bert-score normalises the embeddings in place.
        sides += [torch.cat([tokens, torch.ones(padding, tokens.shape[1])])[None], mask, weights]
    precision, recall, f1 = utilities.greedy_cos_idf(*sides)
    return float(f1), float(precision), float(recall)


@dataclass(frozen=True, slots=True)
class Encoder:
    """A model with its tokenizer, cut to the layer whose embeddings are compared."""

    model: Any
    tokenizer: Any
    device: str

    def embed(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return a float tensor (tokens, width) on the CPU for each text, CLS and SEP included."""
        utilities = importlib.import_module("bert_score.utils")
        # Texts of about one length share a batch, so little of it is padding; ties go by text, for the same batches.
        ordered = sorted(texts, key=lambda text: (-len(text), text))
        found = {}
        for batch in _batches(ordered, TEXTS_AT_ONCE):
            weights: dict[int, float] = defaultdict(lambda: 1.0)  # no idf: every token weighs 1
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
    """Return the model in `folder`, on the GPU if there is one; it is read once per process.

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
        # Longer texts would be cut nowhere and fail in the model. RoBERTa's positions begin after its padding token.
        positions = int(getattr(model.config, "max_position_embeddings", None) or 512)
        taken = int(model.config.pad_token_id) + 1 if "roberta" in str(model.config.model_type) else 0
        tokenizer.model_max_length = positions - taken
    return Encoder(model, tokenizer, device)


def _tokenizer(folder: Path) -> Any:
    transformers = importlib.import_module("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    if isinstance(tokenizer, transformers.RobertaTokenizer | transformers.GPT2Tokenizer):
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), add_prefix_space=True)
    return tokenizer


def find_model(model: str, num_layers: int) -> tuple[Path, int]:
    """Return the folder and the layer that the parameters name.

    Args:
        model: A folder, or the name of a model in the local hub cache.
        num_layers: Layer whose embeddings are compared, 1 or more; 0 for the layer that bert-score names.
    Raises:
        ModelError: `missing` says why they cannot be used.
    """
    absent = missing({"model": model, "num_layers": num_layers})
    folder, layers = _folder(model), num_layers or _known_layers(model)
    if absent is not None or folder is None or layers is None:
        reason = f"{absent.reason}; {absent.remedy}" if absent else "no such model"
        raise ModelError(f"bertscore: {reason}")
    return folder, layers


def missing(parameters: Mapping[str, Json]) -> Missing | None:
    """Return why the model cannot be used, None if it can; loads no model and asks no network."""
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
    """Return the folder of a model: itself, or its snapshot in the local hub cache; None without either."""
    if (Path(model) / "config.json").is_file():
        return Path(model).resolve()
    hub = importlib.import_module("huggingface_hub")
    try:
        found = hub.try_to_load_from_cache(model, "config.json")
    except ValueError:  # huggingface_hub's error for a name that no model of the hub can have
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
    """Return model, layer, digest of its files and the versions that compute the score.

    A folder is named without its path, so that published results hold nothing about this machine. The result is empty
    if the model cannot be used.
    """
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
