"""Filters of figures and captions: medical terms, charts, and captions that repeat each other."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.data.construction.checks.tokens import tokens
from harness.data.construction.lexicons import read_lexicon

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Fewest medical terms of a caption, and pixels of each side of an image: as in the paper.
LEAST_TERMS = 5
LEAST_SIDE = 336

# The rule for charts and drawings: they are mostly one light, even colour, or have few grey values at all. Scans and
# photographs are neither. It takes the place of the paper's classifier, which learned on 11,000 labelled images.
LIGHT = 235
MOST_LIGHT = 0.55
LEAST_GREYS = 24

# Cosine of two captions' embeddings from which one repeats the other. The paper drops at a dot product above 480,
# which vectors of length one never reach, and does not say how its vectors were scaled; ours have length one.
LEAST_COSINE = 0.95
DIMENSIONS = 256
# Components are kept as whole numbers up to this: their products and sums are then exact in float32, whatever the
# order of the additions, so that all machines drop the same captions.
SCALE = 127
# Random planes that sort embeddings into buckets; two of the least cosine share a bucket in 0.9998 of cases.
BANDS, BITS = 32, 14


def count_terms(text: str) -> int:
    """Return the number of different medical terms in a text: words of the lexicon, or with one of its endings."""
    words, endings, common = _terms()
    found = {word for word in tokens(text) if word not in common and (word in words or word.endswith(endings))}
    return len(found)


@cache
def _terms() -> tuple[frozenset[str], tuple[str, ...], frozenset[str]]:
    content = read_lexicon("medical_terms")
    return frozenset(content["words"]), tuple(content["endings"]), frozenset(content["longest_common"])


def looks_drawn(pixels: "NDArray[np.uint8]") -> str:
    """Return why an image seems to be a chart or a drawing; empty if it does not.

    Args:
        pixels: uint8 (H, W, 3).
    """
    import numpy as np

    light = float((pixels.min(axis=2) >= LIGHT).mean())
    if light > MOST_LIGHT:
        return f"{light:.0%} of it is white, expected at most {MOST_LIGHT:.0%}"
    greys = int(np.count_nonzero(np.bincount(pixels.mean(axis=2).astype(np.uint8).ravel(), minlength=256)))
    return f"it has {greys} grey values, expected at least {LEAST_GREYS}" if greys < LEAST_GREYS else ""


def embed(text: str) -> str:
    """Return a sentence embedding as base64 of int8: words and pairs of words, hashed into signed components.

    It is a stand-in that needs no weights; embeddings of a model take its place where they are supplied. The vector
    has about length `SCALE`; a text without words gives zeros.
    """
    import numpy as np

    words = [word for word in tokens(text) if word[0].isalnum()]
    vector = np.zeros(DIMENSIONS, np.float64)
    counts: dict[str, int] = {}
    for term in (*words, *(f"{first} {second}" for first, second in pairwise(words))):
        counts[term] = counts.get(term, 0) + 1
    for term, count in counts.items():
        place, sign = _component(term)
        # The root, so that a word that is repeated does not rule the whole.
        vector[place] += sign * count**0.5
    return pack(vector)


@lru_cache(maxsize=1 << 16)
def _component(term: str) -> tuple[int, int]:
    number = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=8).digest(), "big")
    return number % DIMENSIONS, 1 if number >> 63 else -1


def pack(vector: "Sequence[float] | NDArray[np.float64]") -> str:
    """Return a vector, scaled to length `SCALE` and rounded to whole numbers, as base64 of int8."""
    import numpy as np

    values = np.asarray(vector, np.float64)
    length = float(np.sqrt((values * values).sum()))
    whole = np.rint(values * (SCALE / length)) if length else values
    return base64.b64encode(whole.astype(np.int8).tobytes()).decode()


def find_repeated() -> Callable[[str, str], str]:
    """Return a function that takes (id, packed embedding) and says which earlier one it repeats; empty if none.

    The embedding that it repeats is not kept, so of any number of copies the first stays. For each embedding it keeps
    its own bytes and a number in each of `BANDS` tables.
    """
    import numpy as np

    kept: list[str] = []
    rows: list[NDArray[np.int8]] = []
    tables: list[dict[int, list[int]]] = [{} for _ in range(BANDS)]
    planes: list[Any] = []
    weights = 1 << np.arange(BITS, dtype=np.int64)

    def repeated(name: str, packed: str) -> str:
        row = np.frombuffer(base64.b64decode(packed), np.int8)
        wide = row.astype(np.float32)
        if not planes:
            # Planes of +1 and -1 keep the sums whole.
            signs = np.random.default_rng(0).integers(0, 2, (BANDS * BITS, len(row)))
            planes.append((2 * signs - 1).astype(np.float32))
        buckets = (planes[0] @ wide > 0).reshape(BANDS, BITS) @ weights
        own = list(zip(tables, buckets.tolist(), strict=True))
        near = sorted({place for table, bucket in own for place in table.get(bucket, ())})
        if near:
            others = np.stack([rows[place] for place in near]).astype(np.float32)
            lengths = np.sqrt((others * others).sum(axis=1) * (wide * wide).sum())
            cosines = (others @ wide) / np.maximum(lengths, 1)
            best = int(cosines.argmax())
            if cosines[best] >= LEAST_COSINE:
                return f"the caption repeats that of {kept[near[best]]}: cosine {cosines[best]:.3f}"
        for table, bucket in own:
            table.setdefault(bucket, []).append(len(kept))
        kept.append(name)
        rows.append(row)
        return ""

    return repeated
