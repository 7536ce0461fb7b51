"""Vectors of CLIP- and SigLIP-like models: one of the image and one of the text."""

from collections.abc import Sequence
from typing import Any

from harness.errors import ModelError
from harness.models.huggingface.prompts import Prompter
from harness.records import Answer, Request


def answers(prompter: Prompter, requests: Sequence[Request]) -> list[Answer]:
    """Return the image vector and the text vector of each request, as the model's projections give them.

    A text above the model's length is cut at its end, as in the models' own evaluations, and the answer says so.

    Raises:
        DataError: An image cannot be read.
        ModelError: A request does not hold one image and one text.
    """
    import torch

    loaded = prompter.loaded
    for request in requests:
        if len(request.images) != 1 or len(request.candidates) != 1:
            raise ModelError(
                f"embed: expected one image and one text, found {len(request.images)} and {len(request.candidates)}"
            )
    texts = [request.candidates[0] for request in requests]
    pictures = [prompter.image(request.images[0]) for request in requests]
    # SigLIP was trained on texts padded to their full length, and reads others differently.
    full = loaded.model.config.model_type.startswith("siglip")
    most = loaded.model.config.get_text_config().max_position_embeddings
    words = loaded.tokenizer(
        texts, padding="max_length" if full else True, truncation=True, max_length=most, return_tensors="pt"
    ).to(loaded.device)
    lengths = [len(ids) for ids in loaded.tokenizer(texts)["input_ids"]]
    shown = loaded.processor.image_processor(images=pictures, return_tensors="pt")
    with torch.inference_mode():
        images = _vectors(loaded.model.get_image_features(**shown.to(loaded.device, dtype=loaded.model.dtype)))
        written = _vectors(loaded.model.get_text_features(**words))
    return [
        Answer(
            embedding=(image, text),
            rendered=words_of,
            usage={"prompt_tokens": min(length, most), "completion_tokens": 0},
            remarks=(f"the text has {length} tokens; the model reads the first {most}",) if length > most else (),
        )
        for image, text, words_of, length in zip(images, written, texts, lengths, strict=True)
    ]


def _vectors(features: Any) -> list[list[float]]:
    # transformers 5 returns the whole output of the tower, its projection in `pooler_output`.
    vectors = features if hasattr(features, "tolist") else features.pooler_output
    return [list(map(float, row)) for row in vectors.float().tolist()]
