"""Counts which expert the tokens of questions and answers go to, by layer, kind of token and imaging modality.

Shape suffixes: N modalities, L layers, K kinds of token, E experts, B conversations, T positions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.data.roots import data_roots
from harness.errors import SpecError
from reference_model.checkpoints.checkpoint import open_model
from reference_model.config import ModelConfig
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IMAGE
from reference_model.modeling.moe import MoeFeedForward
from reference_model.training.collating.images import Collator, EncoderImages
from reference_model.training.data import Example, SetSpec, read_sets

# In the order of axis K. A region's position holds features of the image and no word: it counts as neither.
KINDS = ("image", "text")
BATCH = 16
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingCounts:
    """Tokens by their likeliest expert.

    Attributes:
        model: The name of the model.
        samples: Questions with their answers that were read.
        modalities: Imaging modalities, sorted.
        tokens_NLKE: int64, the tokens of each modality, layer and kind whose first choice each expert is.
    """

    model: str
    samples: int
    modalities: tuple[str, ...]
    tokens_NLKE: NDArray[np.int64]


def count_routing(
    folder: Path, *, tasks: Sequence[str], root: str, cache: Path, samples: int, device: str = "cpu"
) -> RoutingCounts:
    """Read questions with the answers of a perfect model, and count where their tokens go.

    Args:
        folder: A model of MedPLIB's architecture with experts.
        tasks: Tasks of the harness, answered in words or masks; their own test split is read.
        root: A data root, such as phantom:0.
        cache: The cache folder of the harness.
        samples: Questions per task at most, evenly spread over the task.
        device: The device, by torch's name.

    Raises:
        SpecError: The model has no experts, or a task does not exist.
        DataError: A file of the model or of the data is missing or torn.
    """
    model, about = open_model(folder, torch.float32)
    if not isinstance(about.config, ModelConfig) or not about.experts:
        raise SpecError(f"{folder}: expected a model with experts, found {about.config.name} without any")
    sets = read_sets(
        [SetSpec(task=task, split="test") for task in tasks], [data_roots([root], cache)], cache, lambda _: None
    )
    examples = [one for each in sets for one in each.examples[:: max(1, len(each.examples) // samples)][:samples]]
    names = tuple(sorted({example.modality or UNKNOWN for example in examples}))
    collator = Collator(config=about.config, tokenizer=about.tokenizer(), images=EncoderImages(config=about.config))
    language = model.to(device).language
    layers = [layer.mlp for layer in language.layers if isinstance(layer.mlp, MoeFeedForward)]
    total = torch.zeros((len(names), len(layers), len(KINDS), about.config.moe.experts), dtype=torch.long)
    chosen: list[Tensor] = []
    hooks = [
        layer.router.register_forward_hook(lambda _module, _given, found_NE: chosen.append(found_NE.argmax(dim=1)))
        for layer in layers
    ]
    try:
        for batch, rows in _batches(collator, examples):
            moved = batch.to(device)
            with torch.inference_mode():
                language(model.embed(moved), valid_BK=moved.valid_BT, segment_BK=moved.segment_BT)  # type: ignore[arg-type]
            kind_KBT = torch.stack((batch.ids_BT == IMAGE, batch.ids_BT >= 0)) & batch.valid_BT
            place_B = torch.tensor([names.index(row.modality or UNKNOWN) for row in rows])
            for layer, expert_BT in enumerate(one.cpu().view_as(batch.ids_BT) for one in chosen):
                for kind, mask_BT in enumerate(kind_KBT):
                    for expert in range(total.shape[-1]):
                        count_B = ((expert_BT == expert) & mask_BT).sum(dim=1)
                        total[:, layer, kind, expert].index_add_(0, place_B, count_B)
            chosen.clear()
    finally:
        for hook in hooks:
            hook.remove()
    return RoutingCounts(model=about.config.name, samples=len(examples), modalities=names, tokens_NLKE=total.numpy())


def _batches(collator: Collator, examples: Sequence[Example]) -> Iterator[tuple[Batch, Sequence[Example]]]:
    random = np.random.default_rng(0)  # regions stay whole, so that nothing is sampled
    for rows in (examples[start : start + BATCH] for start in range(0, len(examples), BATCH)):
        yield collator.batch([(example,) for example in rows], random), rows
