"""Texts as M3D-CLIP's text tower reads them.

Shape suffixes: U texts, T tokens.
"""

import random
from collections.abc import Sequence

from torch import Tensor

from harness.records.codec import digest
from reference_model.inputs.batch import PADDING, pad
from reference_model.inputs.conversation import Encoded, Tokenizer


def encode_reports(texts: Sequence[str], tokenizer: Tokenizer, *, max_length: int) -> tuple[Tensor, Tensor]:
    """Return ids, int64 (U, T), padded on the right, and validity, boolean (U, T), of at least one text.

    Args:
        texts: Longer ones are shortened by `shortened`.
        tokenizer: The tokenizer of the text tower.
        max_length: Most tokens of a text, those at its start and its end included.
    """
    rows = []
    for text in texts:
        # Special tokens of the language model have no place in a text tower, which ends before them: unknown words.
        known = tokenizer.special.base
        encoded = tokenizer.encode(shortened(text, tokenizer, max_length=max_length))
        ids = [token if token < known else PADDING for token in encoded]
        ids = [tokenizer.start_id, *ids[: max_length - 2], tokenizer.end_id]
        rows.append(Encoded(tuple(ids), tuple(ids)))
    ids_UT, valid_UT, _ = pad(rows, side="right")
    return ids_UT, valid_UT


def shortened(text: str, tokenizer: Tokenizer, *, max_length: int) -> str:
    """Return a text with its first sentence and others picked at random as long as they fit.

    As in the release, sentences end at every full stop, those that are picked come in the order in which they were, and
    the first one does not count. The release picks anew whenever it reads a text; here the digest of the text is the
    seed, so that a report has one vector.
    """

    def length(part: str) -> int:
        return len(tokenizer.encode(part)) + 2

    if length(text) <= max_length:
        return text
    first, *left = text.split(".")
    found, used, picks = [first], 0, random.Random(digest(text))
    while used <= max_length and left:
        sentence = picks.choice(left)
        if used + length(sentence) <= max_length and sentence not in found:
            found.append(sentence)
            used += length(sentence)
        else:
            left.remove(sentence)
    return ".".join(found)
