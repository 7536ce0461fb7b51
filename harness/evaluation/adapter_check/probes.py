"""The requests that an adapter is checked with: every input and output that it claims, in shapes that break code."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import (
    Box,
    Capabilities,
    Crop,
    Entity,
    Media,
    MediaPart,
    Part,
    Points,
    Prior,
    Region,
    Request,
    Size,
    Target,
    TextPart,
    Turn,
    VisualPrompt,
)
from harness.records.codec import sha256_file

# (H, W): two odd sides, a side three times the other, and smaller than the patch of any vision encoder.
IMAGE_SIZES: tuple[Size, ...] = ((37, 53), (96, 31), (9, 12))
# (D, H, W) with voxels of unequal sides in mm, in this order.
VOLUMES: tuple[tuple[Size, tuple[float, float, float]], ...] = (
    ((5, 23, 31), (5.0, 0.7, 0.9)),
    ((12, 17, 14), (1.5, 0.8, 0.8)),
)
QUESTION = "Where is the bright structure?"
EMPTY = "the question is empty"
# Chinese, Arabic with its marks of direction, a combining accent, a letter outside of the basic plane, a line end.
UNICODE = "肺部有结节吗?\nأين الآفة؟ \u200fle\u0301sion \U0001fac1"
# As long as the longest questions of the tasks, options included; 1,000 tokens for a tokenizer of single letters.
LONG = " ".join(f"Finding {number} is stable." for number in range(45))
LENGTHY = "the question is long"
CANDIDATES = (" yes", " no", " Übelkeit und Erbrechen, seit gestern")
CAPTION = "A bright structure in the left lung."
MOST_IMAGES = 4
WANTED = {
    "text": "text is wanted",
    "masks": "masks are wanted",
    "boxes": "boxes are wanted",
    "nll": "likelihoods are wanted",
    "embedding": "an embedding is wanted",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One request with what is special about it, in words that complete "the request ...".

    Attributes:
        words: What is asked, such as `masks of an image of 37 x 53`.
        tags: What a fault may come from, such as `the question is empty`.
        request: The request, with records as media and still without a key.
    """

    words: str
    tags: tuple[str, ...]
    request: Request


def probes(capabilities: Capabilities, folder: Path) -> list[Probe]:
    """Return the probes for a model, whose images and volumes are written to `folder`.

    Args:
        capabilities: Of the model; what it does not claim is not asked.
        folder: An empty folder.
    """
    return list(_probes(capabilities, _Phantoms(folder)))


def _probes(capabilities: Capabilities, phantoms: "_Phantoms") -> Iterator[Probe]:
    takes = capabilities.takes
    shown: list[tuple[str, tuple[Media, ...]]] = []
    if takes & {"image", "images"}:
        shown += [
            (f"an image of {height} x {width}", (phantoms.image((height, width)),)) for height, width in IMAGE_SIZES
        ]
    if "images" in takes and capabilities.max_images > 1:
        most = min(capabilities.max_images, MOST_IMAGES)
        several = tuple(phantoms.image(IMAGE_SIZES[place % 2], number=place) for place in range(most))
        shown.append((f"{most} images", several))
    if "volume" in takes:
        shown += [
            (f"a volume of {' x '.join(map(str, size))} with voxels of {' x '.join(map(str, spacing))} mm", (volume,))
            for size, spacing in VOLUMES
            for volume in (phantoms.volume(size, spacing),)
        ]
    first = shown[0][1] if shown else ()
    # The first of each kind, and an image on which x and y cannot be taken for each other.
    pointed = [
        item for place, item in enumerate(shown) if place == 1 or item == shown[0] or item[1][0].kind == "volume"
    ]
    pointing = [kind for kind in ("box", "point", "region") if kind in takes]
    for want in WANTED:
        if want not in capabilities.gives or (want in ("masks", "boxes") and not shown):
            continue
        # A model that takes no words is asked by pointing alone, if it takes that.
        wordless = () if "text" in takes or not pointing else (pointing[0],)
        for words, media in shown or [("no image", ())]:
            yield _probe(capabilities, want, words, media, pointing=wordless)
        if first and first[0].kind == "image":
            cropped, tag = (phantoms.cropped(first[0]),), "the image is a crop of its file"
            yield _probe(capabilities, want, "an image of 20 x 31", cropped, pointing=wordless, tags=(tag,))
        if "text" in takes and want != "embedding":
            for tag, text in ((EMPTY, ""), ("the question is not in ASCII", UNICODE), (LENGTHY, LONG)):
                yield _probe(capabilities, want, shown[0][0] if shown else "no image", first, text=text, tags=(tag,))
        if want in ("nll", "embedding"):
            texts = ("",) if want == "embedding" else (" A",)
            tags = ("the caption is empty",) if want == "embedding" else ("there is one candidate",)
            yield _probe(capabilities, want, shown[0][0] if shown else "no image", first, tags=tags, candidates=texts)
            continue
        for kind in pointing:
            for words, media in pointed:
                yield _probe(capabilities, want, words, media, pointing=(kind,))


def _probe(
    capabilities: Capabilities,
    want: str,
    words: str,
    media: Sequence[Media],
    *,
    text: str = QUESTION,
    pointing: Sequence[str] = (),
    tags: Sequence[str] = (),
    candidates: Sequence[str] = (),
) -> Probe:
    size = media[0].size if media else ()
    target = _structure(size) if size else None
    embeds = want == "embedding"
    if "text" not in capabilities.takes or embeds:
        text = ""
    parts: list[Part] = [MediaPart(media=item) for item in media]
    parts += [TextPart(text=text)] if text else []
    request = Request(
        kind="embed" if embeds else "nll" if want == "nll" else "generate",
        wants=(want,),
        messages=(Turn(role="user", parts=tuple(parts)),),
        visual_prompts=tuple(_prompt(kind, target) for kind in pointing if target is not None),
        candidates=tuple(candidates) or ((CAPTION,) if embeds else CANDIDATES if want == "nll" else ()),
        decoding={"max_new_tokens": 16, "temperature": 0},
    )
    shape = ("a volume is shown",) if len(size) == 3 else ("several images are shown",) if len(media) > 1 else ()
    names = [f"a {kind} is given" for kind in pointing]
    if capabilities.per_sample:
        request = _with_sample(request, capabilities, target, f"check/{want}/{words}/{','.join((*names, *tags))}")
    return Probe(
        words=f"{want} of {words}" + "".join(f", {name}" for name in (*names, *tags)),
        tags=(*tags, *names, *shape, WANTED[want], f"{words} is shown" if media else "nothing is shown"),
        request=request,
    )


def _with_sample(
    request: Request, capabilities: Capabilities, found: NDArray[np.bool_] | None, sample_id: str
) -> Request:
    """Return a request with what adapters get that know the sample: baselines and oracles."""
    request = replace(request, sample_id=sample_id)
    mask = None if found is None else masks.encode(found)
    if "prior" in capabilities.takes:
        request = replace(request, prior=Prior(answer="yes", choice="A", mask=mask))
    if "target" in capabilities.takes:
        box = None if mask is None else masks.bounding_box(mask)
        entities = () if mask is None else (Entity(name="structure", mask=mask),)
        target = Target(answers=("yes",), choice="A", entities=entities, boxes=() if box is None else (box,))
        request = replace(request, target=target, oracle="yes")
    return request


def _prompt(kind: str, found: NDArray[np.bool_]) -> VisualPrompt:
    mask = masks.encode(found)
    if kind == "region":
        return Region(mask=mask)
    if kind == "box":
        box = masks.bounding_box(mask)
        assert box is not None
        return box
    inside = np.argwhere(found)
    z_y_x = inside[len(inside) // 2]
    return Points(points=(tuple(float(place) for place in reversed(z_y_x)),), labels=(1,))


def _structure(size: Size) -> NDArray[np.bool_]:
    """Return a bright ball or disc left of and above the middle: an answer in the wrong frame lies elsewhere."""
    grid: Any = np.ogrid[tuple(slice(0, length) for length in size)]
    distance = sum(((axis - 0.4 * length) / (0.3 * length)) ** 2 for axis, length in zip(grid, size, strict=True))
    found: NDArray[np.bool_] = np.broadcast_to(distance <= 1, size).copy()
    return found


class _Phantoms:
    """Writes images and volumes, each once.

    Args:
        folder: An empty folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def image(self, size: Size, number: int = 0) -> Media:
        """Return an RGB image with a bright structure, other noise for each number."""
        from PIL import Image

        noise = np.random.default_rng(number).integers(0, 60, (*size, 3), dtype=np.uint8)
        path = self.folder / f"image-{size[0]}x{size[1]}-{number}.png"
        Image.fromarray(noise + (_structure(size) * np.uint8(180))[..., None]).save(path)
        return Media(path=path.name, sha256=sha256_file(path), size=size, spacing_mm=(0.5, 0.5))

    def cropped(self, media: Media) -> Media:
        """Return a window of an image of at least 22 x 36, as a task with `region_as_crop` shows it."""
        return replace(media, size=(20, 31), crop=Crop(corners=(5, 2, 36, 22), original=media.size))

    def volume(self, size: Size, spacing: Sequence[float]) -> Media:
        """Return a volume with a bright structure: NIfTI where nibabel is installed, else npy."""
        from importlib.util import find_spec

        from harness.imaging.volumes import Volume, to_nifti

        noise = np.random.default_rng(size[0]).integers(-20, 20, size)
        voxels = (noise + 400 * _structure(size)).astype(np.float32)
        affine = np.diag([*spacing[::-1], 1.0])
        affine[:3, 3] = (-20.0, 10.0, 30.0)
        flat = tuple(affine.ravel().tolist())
        stem = self.folder / f"volume-{'x'.join(map(str, size))}"
        if find_spec("nibabel") is not None:
            path = stem.with_suffix(".nii")
            path.write_bytes(to_nifti(Volume(voxels=voxels, spacing_mm=tuple(spacing), affine=flat)))
        else:
            path = stem.with_suffix(".npy")
            np.save(path, voxels)
        return Media(
            path=path.name, sha256=sha256_file(path), kind="volume", size=size, spacing_mm=tuple(spacing), affine=flat
        )


def outside(box: Box, size: Size) -> bool:
    """Say whether a box leaves an image (H, W) or volume (D, H, W), or ends before it begins."""
    axes = len(size)
    starts, ends = box.corners[:axes], box.corners[axes:]
    lengths = size[::-1] if axes == 2 else size  # boxes are x y in 2-D and z y x in 3-D
    return any(not 0 <= start <= end <= length for start, end, length in zip(starts, ends, lengths, strict=True))
