"""Images of SA-Med2D-20M with the facts that their names and masks give: modality, view, structures and places."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.data.construction.checks.anatomy import without_side
from harness.data.construction.checks.tokens import mentions
from harness.data.construction.pipeline import Candidate, Inputs
from harness.data.construction.prompts import PromptFile, read_prompt_file
from harness.data.construction.records import Source
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.samed2d.reader import (
    CLASSES,
    FOLDER,
    parse_image_name,
    parse_mask_name,
    read_class_names,
    read_listing,
)
from harness.errors import DataError
from harness.records import Json, Media

if TYPE_CHECKING:
    from harness.imaging.masks import Bools

# Names of classes that are unions of others, as the release marks them: their masks would be asked about twice.
UNION = "union_"
# A part nearer to the middle than this share of half the image is on neither side: a reader could argue either way.
OFF_CENTRE = 0.10


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStructure:
    """One class of an image, all of its instances together.

    Attributes:
        name: The class as the release names it, with blanks for underscores.
        class_id: Four digits.
        masks: Paths of the instances' masks below the release's folder.
        areas: Their pixels; None for a mask that cannot be used.
        fault: Why one of the masks cannot be used; empty if all can.
        centres: (x, y) of the instances, from -1 at the left and upper edge to 1 at the right and lower one.
        share: Share of the image's pixels that all instances cover together.
    """

    name: str
    class_id: str
    masks: tuple[str, ...]
    areas: tuple[int | None, ...]
    fault: str = ""
    centres: tuple[tuple[float, float], ...] = ()
    share: float = 0.0

    @property
    def area(self) -> int | None:
        """Pixels of all instances together, those on top of each other counted twice; None if a mask is unusable."""
        return None if self.fault or None in self.areas else sum(area or 0 for area in self.areas)

    @property
    def bare_name(self) -> str:
        """The name without a side."""
        return without_side(self.name)[0]

    @property
    def places(self) -> frozenset[str]:
        """The sides of the image that the instances are on; none if one of them is near the middle."""
        if any(abs(x) <= OFF_CENTRE for x, _ in self.centres):
            return frozenset()
        return frozenset("left" if x < 0 else "right" for x, _ in self.centres)

    @property
    def sides(self) -> frozenset[str]:
        """The side that the label states, which is the patient's; else those of the image."""
        labelled = without_side(self.name)[1]
        return frozenset({labelled}) if labelled else self.places


def instance_of(structure: ImageStructure, path: str) -> ImageStructure:
    """Return the one instance of a structure whose mask is at `path`, as a structure of its own."""
    place = structure.masks.index(path)
    area, whole = structure.areas[place], sum(area or 0 for area in structure.areas)
    # Only masks with a pixel have a centre.
    before = sum(1 for one in structure.areas[:place] if one)
    return replace(
        structure,
        masks=(path,),
        areas=(area,),
        centres=structure.centres[before : before + 1] if area else (),
        share=structure.share * (area or 0) / whole if whole else 0.0,
    )


def structures_of(source: Source) -> tuple[ImageStructure, ...]:
    """Return the structures of a source, in the order of the release."""
    return tuple(
        ImageStructure(
            name=one["name"],
            class_id=one["class_id"],
            masks=tuple(one["masks"]),
            areas=tuple(one["areas"]),
            fault=one["fault"],
            centres=tuple((x, y) for x, y in one["centres"]),
            share=one["share"],
        )
        for one in source.facts["structures"]
    )


@cache
def meta_words() -> PromptFile:
    """Return the words for the parts of a file name."""
    return read_prompt_file(Path(__file__).parent / "meta.yaml")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadImage:
    """An image with its structures, while its pixels are at hand.

    Attributes:
        structures: In the order of the release.
        unions: Boolean (H, W) union of the instances of every structure without a fault, by name.
        size: (H, W).
    """

    structures: tuple[ImageStructure, ...]
    unions: "Mapping[str, Bools]"
    size: tuple[int, int]


# Returns further facts of an image while its pixels are at hand: takes its stem and the image.
More = Callable[[str, ReadImage], Mapping[str, Json]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSources:
    """The images of one release.

    Attributes:
        files: The release.
        names: Class name by dataset and class id.
        classes_sha256: Digest of the file that holds them.
        more: Adds facts; they must depend on the seed and the image alone.
    """

    files: ReleaseFiles
    names: Mapping[str, Mapping[str, str]]
    classes_sha256: str
    more: More | None = None

    def load(self, image: str, masks: Sequence[str]) -> Source:
        """Return the source of an image; a file that cannot be used is a fact of it and no error."""
        path = f"{FOLDER}/{image}"
        stem = image.rpartition("/")[2].removesuffix(".png")
        name = parse_image_name(image)
        inputs: dict[str, str] = {CLASSES: self.classes_sha256}
        if name is None:
            return Source(
                id=stem, inputs=inputs, facts={"fault": "the file name does not tell its dataset"}, cluster=stem
            )
        media, fault = self._image(path, inputs)
        known = {class_id: self._named(label) for class_id, label in self.names.get(name.source, {}).items()}
        facts: dict[str, Json] = {"image": image, "modality": name.modality, "source": name.source, "case": name.case}
        facts |= {"class_names": known, "structures": [], "fault": fault}
        if not fault:
            read = self._structures(masks, known, media.size, inputs)
            facts["structures"] = [_structure_json(one) for one in read.structures]
            facts |= describe(stem, name.submodality, read.structures)
            if self.more is not None:
                facts |= self.more(stem, read)
        return Source(
            id=stem,
            media=(media,),
            inputs=inputs,
            facts=facts,
            cluster=f"{name.source}--{name.case}",
            origin=name.source,
            strata={"modality": name.modality, "source": name.source},
        )

    def _named(self, label: str) -> str:
        return " ".join(label.replace("_", " ").split())

    def _image(self, path: str, inputs: dict[str, str]) -> tuple[Media, str]:
        from harness.imaging.images import examine_image

        try:
            content = self.files.read(path)
            if content is None:
                return Media(path=path, sha256=None), "the image is missing"
            inputs[path] = hashlib.sha256(content).hexdigest()
            facts = examine_image(content, window=None, where=path)
        except DataError as error:
            return Media(path=path, sha256=inputs.get(path)), str(error)
        return Media(path=path, sha256=inputs[path], size=facts.size, window=facts.window), ""

    def _structures(
        self, masks: Sequence[str], known: Mapping[str, str], size: Sequence[int], inputs: dict[str, str]
    ) -> ReadImage:
        by_class: dict[str, list[str]] = {}
        for mask in masks:
            parsed = parse_mask_name(mask)
            label = None if parsed is None else known.get(parsed.class_id)
            if parsed is not None and label and not label.startswith(UNION.replace("_", " ")):
                by_class.setdefault(parsed.class_id, []).append(mask)
        structures, unions = [], {}
        height, width = size
        for class_id, paths in sorted(by_class.items()):
            read = [self._mask(path, (height, width), inputs) for path in sorted(paths)]
            fault = next((why for _, why in read if why), "")
            arrays = [array for array, _ in read if array is not None]
            union = None
            for array in arrays:
                union = array if union is None else union | array
            if union is not None and not fault:
                unions[known[class_id]] = union
            structures.append(
                ImageStructure(
                    name=known[class_id],
                    class_id=class_id,
                    masks=tuple(sorted(paths)),
                    areas=tuple(None if array is None else int(array.sum()) for array, _ in read),
                    fault=fault,
                    centres=tuple(_centre(array) for array in arrays if array.any()),
                    share=0.0 if union is None else round(float(union.mean()), 6),
                )
            )
        return ReadImage(structures=tuple(structures), unions=unions, size=(height, width))

    def _mask(self, path: str, size: tuple[int, int], inputs: dict[str, str]) -> "tuple[Bools | None, str]":
        """Return (mask, why it cannot be used)."""
        from harness.data.releases.images import read_one_mask, why_inverted

        place = f"{FOLDER}/{path}"
        try:
            content = self.files.read(place)
            if content is None:
                return None, "the mask is missing"
            inputs[place] = hashlib.sha256(content).hexdigest()
            read = read_one_mask(content, place)
        except DataError as error:
            return None, str(error)
        pixels = read.labels > 0
        if pixels.shape != size:
            return None, f"the mask is {pixels.shape}, its image {size} as (H, W)"
        if pixels.all():
            return pixels, "the mask covers the whole image"
        if not pixels.any():
            return pixels, ""
        if inverted := why_inverted(pixels):
            return pixels, f"the mask seems inverted: it {inverted}"
        return pixels, next((f"the mask file has a fault: {kind}" for kind, _ in read.notes), "")


def candidates(inputs: Inputs, more: More | None = None) -> Iterator[Candidate]:
    """Yield the images of SA-Med2D-20M in the order of its listing.

    Args:
        inputs: Where the release is.
        more: Adds facts to each image.
    Raises:
        DataError: The listing or the class names are missing or malformed.
    """
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache)
    classes = files.read(CLASSES)
    sources = ImageSources(
        files=files,
        names=read_class_names(files),
        classes_sha256=hashlib.sha256(classes or b"").hexdigest(),
        more=more,
    )
    for image, masks in read_listing(files):
        stem = image.rpartition("/")[2].removesuffix(".png")
        yield Candidate(id=stem, load=_Load(sources, image, tuple(masks)))


@dataclass(frozen=True, slots=True)
class _Load:
    """Loads one image when it is called."""

    sources: ImageSources
    image: str
    masks: tuple[str, ...]

    def __call__(self) -> Source:
        return self.sources.load(self.image, self.masks)


def describe(stem: str, submodality: str, structures: Sequence[ImageStructure]) -> dict[str, Json]:
    """Return the meta information of an image in words: `modality_name`, `region` and `orientation`."""
    words = meta_words().lists
    prefix = stem.split("--")[0].partition("_")[0]
    modality = str(words["modalities"].get(prefix, prefix))
    if submodality in words["sequences"]:
        modality = f"{modality} ({words['sequences'][submodality]})"
    view = stem.split("--")[-1]
    counts: Counter[str] = Counter(
        region for one in structures for mention in mentions(one.name) for region in mention.structure.regions
    )
    region = words["regions"].get(prefix, "")
    if not region and counts:
        # Of regions that occur equally often, the first in the lexicon's order of structures.
        region = words["region_names"][counts.most_common(1)[0][0]]
    return {"modality_name": modality, "region": region, "orientation": words["orientations"].get(view[0], "")}


def place_words(structure: ImageStructure) -> str:
    """Return where a structure is in the image, in words: "on the left side of the image"."""
    if structure.places:
        sides = sorted(structure.places)
        return f"on the {' and the '.join(sides)} side{'s' * (len(sides) > 1)} of the image"
    return "near the middle of the image"


def sides_by_name(source: Source, attribute: Literal["sides", "places"]) -> dict[str, frozenset[str]]:
    """Return the sides of all structures by name without a side; if one of a name has none known, none is."""
    found: dict[str, list[frozenset[str]]] = {}
    for one in structures_of(source):
        found.setdefault(one.bare_name, []).append(one.sides if attribute == "sides" else one.places)
    return {name: frozenset().union(*sides) if all(sides) else frozenset() for name, sides in found.items()}


def find_image_fault(source: Source) -> str:
    """Return why an image cannot be used; empty if it can."""
    return str(source.facts["fault"])


def find_no_structure(source: Source) -> str:
    """Return why nothing can be said about an image: no mask of it has a class with a name."""
    return "" if source.facts["structures"] else "no mask has a class with a name"


def _centre(array: "Bools") -> tuple[float, float]:
    return _middle(array.sum(axis=0)), _middle(array.sum(axis=1))


def _middle(counts: Any) -> float:
    """Return the centre of pixel counts along an axis, from -1 to 1."""
    weighted = sum(int(count) * (2 * int(place) + 1) for place in counts.nonzero()[0] for count in (counts[place],))
    # Whole numbers up to the division, and rounded: facts are stored as text and must be the same on every machine.
    return round(weighted / (int(counts.sum()) * len(counts)) - 1, 4)


def _structure_json(one: ImageStructure) -> dict[str, Json]:
    return {
        "name": one.name,
        "class_id": one.class_id,
        "masks": list(one.masks),
        "areas": list(one.areas),
        "fault": one.fault,
        "centres": [list(centre) for centre in one.centres],
        "share": one.share,
    }
