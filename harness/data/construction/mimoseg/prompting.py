"""Visual prompts of a MIMOSeg record: a box around a structure, or a point on it.

The paper does not say how its boxes and points were made. Here a box is the tight box of a structure, each side moved
outwards by up to a tenth of its length; it asks for every structure that it holds almost whole. A point is a random
pixel of one structure alone.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

from harness.data.construction.samed2d.sources import ReadImage
from harness.records import Json

MOST_JITTER = 0.1
# A structure counts as inside a box from this share of its pixels on.
INSIDE = 0.9


def draw_prompts(seed: int, stem: str, image: ReadImage) -> Mapping[str, Json]:
    """Return the fact `prompts`: for `box` and `point` the prompt as released, and the names of what it asks for.

    A kind is left out if the image has no usable structure, or none with a pixel of its own.

    Args:
        seed: Seed of the construction.
        stem: Name of the image, with which the seed decides everything.
        image: The image.
    """
    digest = hashlib.sha256(f"{seed}/{stem}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    unions = {name: union for name, union in image.unions.items() if union.any()}
    if not unions:
        return {"prompts": {}}
    names = list(unions)
    target = unions[names[int(random.integers(len(names)))]]
    corners: list[tuple[int, int]] = []
    for axis in (0, 1):
        taken = np.flatnonzero(target.any(axis=axis))
        start, end = int(taken[0]), int(taken[-1]) + 1
        most = int((end - start) * MOST_JITTER)
        low, high = (int(random.integers(most + 1)) for _ in range(2))
        corners.append((max(0, start - low), min(target.shape[1 - axis], end + high)))
    (left, right), (top, bottom) = corners
    inside = [
        name for name, union in unions.items() if union[top:bottom, left:right].sum() >= INSIDE * int(union.sum())
    ]
    prompts: dict[str, Json] = {"box": {"box": [left, top, right, bottom], "names": inside}}
    # A point on two structures would have two right answers, so it is on one alone.
    covered = np.sum(np.stack(list(unions.values())), axis=0)
    for pick in random.permutation(len(names)):
        name = names[int(pick)]
        pixels = np.argwhere(unions[name] & (covered == 1))
        if len(pixels):
            row, column = pixels[int(random.integers(len(pixels)))].tolist()
            prompts["point"] = {"points": [[column, row]], "labels": [1], "names": [name]}
            break
    return {"prompts": prompts}
