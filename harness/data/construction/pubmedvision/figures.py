"""Figures with captions: LLaVA-Med's pairs, or a folder of one's own with captions, mentions and several images."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.data.construction.pipeline import Candidate, Inputs
from harness.data.construction.pubmedvision.filters import LEAST_SIDE, embed, looks_drawn, pack
from harness.data.construction.records import Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.releases.samed2d.mecovqa_record import RecordParser
from harness.data.releases.vqa import llava_med
from harness.errors import DataError
from harness.records import Json, Media, Sample, Target

FOLDER = "pubmed_figures"
FILE = f"{FOLDER}/figures.jsonl"
# What other programs found about figures, one line each: `{"id", "medical": bool, "embedding": [numbers]}`.
FEATURES = f"{FOLDER}/features.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of an article.

    Attributes:
        id: Unique.
        images: Paths below the data root.
        caption: Its caption.
        mentions: Sentences of the article that speak of it.
        article: The article, whose figures belong to one split.
        origin: The collection, by which licences are listed.
    """

    id: str
    images: tuple[str, ...]
    caption: str
    mentions: tuple[str, ...]
    article: str
    origin: str


def read_figures(files: ReleaseFiles) -> Iterator[Figure]:
    """Yield the figures of `pubmed_figures/`, or else of LLaVA-Med's pairs.

    Raises:
        DataError: A line of the file has another form.
    """
    if not files.has(FILE):
        yield from _pairs(files)
        return
    with files.open(FILE) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _figure(line, number)


def _figure(line: bytes, number: int) -> Figure:
    try:
        value = json.loads(line)
        images = value["images"]
        mentions = value.get("mentions", [])
        if not (isinstance(images, list) and images and isinstance(mentions, list)):
            raise ValueError("`images` needs at least one path, `mentions` is a list")
        return Figure(
            id=str(value["id"]),
            images=tuple(f"{FOLDER}/{path}" for path in images),
            caption=str(value["caption"]),
            mentions=tuple(map(str, mentions)),
            article=str(value.get("article") or value["id"]),
            origin=str(value.get("origin") or FOLDER),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{FILE}:{number}: expected {{"id", "images", "caption", "mentions", "article", "origin"}}, found '
            f"{type(error).__name__}: {error}"
        ) from error


def _pairs(files: ReleaseFiles) -> Iterator[Figure]:
    """Yield LLaVA-Med's pairs: the answer is the caption."""
    listing = next(iter(llava_med.listings(files)), None)
    if listing is None:
        return
    folder = next((folder for folder in llava_med.IMAGES if files.has(folder)), llava_med.IMAGES[0])
    for number, value in enumerate(stream_list(files, listing)):
        record = value if isinstance(value, dict) else {}
        parser = RecordParser(f"{listing}[{number}]", "alignment", Integrity())
        name = parser.text(record.get("image")).strip()
        if name:
            name = name if PurePosixPath(name).suffix else f"{name}{llava_med.SUFFIX}"
            yield Figure(
                id=f"{PurePosixPath(name).stem}-{number}",
                images=(f"{folder}/{name}",),
                caption=parser.first_turn(record)[1].strip(),
                mentions=(),
                article=PurePosixPath(name).name.partition("_")[0],
                origin=llava_med.FOLDER,
            )


def candidates(inputs: Inputs) -> Iterator[Candidate]:
    """Yield the figures below a data root, in their order.

    Raises:
        DataError: A line of the figures or of what was found about them has another form.
    """
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache)
    features = _features(files)
    for figure in read_figures(files):
        yield Candidate(id=figure.id, load=_Load(files, figure, features.get(figure.id, {})))


def _features(files: ReleaseFiles) -> Mapping[str, Mapping[str, Json]]:
    if not files.has(FEATURES):
        return {}
    found: dict[str, Mapping[str, Json]] = {}
    with files.open(FEATURES) as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
                kept: dict[str, Json] = {}
                if "medical" in value:
                    kept["medical"] = bool(value["medical"])
                if "embedding" in value:
                    # Packed at once: a list of numbers in Python takes ten times the memory.
                    kept["embedding"] = pack([float(one) for one in value["embedding"]])
                found[str(value["id"])] = kept
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f'{FEATURES}:{number}: expected {{"id", "medical", "embedding"}}, found '
                    f"{type(error).__name__}: {error}"
                ) from error
    return found


@dataclass(frozen=True, slots=True)
class _Load:
    """Reads one figure when it is called."""

    files: ReleaseFiles
    figure: Figure
    features: Mapping[str, Json]

    def __call__(self) -> Source:
        from harness.imaging.images import read_image

        figure, inputs = self.figure, {}
        media: list[Media] = []
        fault = drawn = ""
        for path in figure.images:
            try:
                content = self.files.read(path)
                if content is None:
                    raise DataError(f"{path}: the image is missing")
                inputs[path] = hashlib.sha256(content).hexdigest()
                pixels = read_image(content, window=None, where=path)
            except DataError as error:
                fault = fault or str(error)
                continue
            media.append(Media(path=path, sha256=inputs[path], size=pixels.shape[:2]))
            drawn = drawn or looks_drawn(pixels)
        if "medical" in self.features:
            drawn = "" if self.features["medical"] else "the model that was asked says so"
        text = " ".join((figure.caption, *figure.mentions))
        return Source(
            id=figure.id,
            media=tuple(media),
            inputs=inputs,
            facts={
                "caption": figure.caption,
                "mentions": list(figure.mentions),
                "fault": fault,
                "drawn": drawn,
                "embedding": self.features.get("embedding") or embed(text),
            },
            cluster=figure.article,
            origin=figure.origin,
            strata={"images": "one" if len(figure.images) == 1 else "several", "origin": figure.origin},
        )


def context_of(source: Source) -> str:
    """Return the words that were printed with a figure: its caption, then what the article says of it."""
    return "\n".join((str(source.facts["caption"]), *map(str, source.facts["mentions"])))


def find_small_image(source: Source) -> str:
    """Return the first image with a side below `LEAST_SIDE`; empty if there is none."""
    sizes: Sequence[Media] = source.media
    small = next((one for one in sizes if min(one.size) < LEAST_SIDE), None)
    if small is None:
        return ""
    height, width = small.size[:2]
    return f"{small.path} is {height} x {width}, expected at least {LEAST_SIDE} pixels on each side"


def _read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    from harness.data.releases.images import inspect_file

    for number, figure in enumerate(read_figures(files), 1):
        images = [inspect_file(files, path, window=request.window, integrity=integrity) for path in figure.images]
        defect = next((image.defect for image in images if image.defect), None)
        yield (
            f"{FILE}:{number}",
            Sample(
                id=f"{request.dataset}/all/{figure.id}",
                media=tuple(image.media for image in images),
                target=Target(answers=(figure.caption,)),
                cluster=figure.article,
                defect=defect,
            ),
        )


READER = Reader(
    name=FOLDER,
    version=1,
    folders=(f"{FOLDER}|{llava_med.FOLDER}",),
    read=_read,
    obtain=(
        f"Write {FILE}, one figure a line, as docs/construct.md says, or download LLaVA-Med's alignment pairs to "
        f"{llava_med.FOLDER}/."
    ),
)
