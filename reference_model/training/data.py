"""Reads training examples: the questions of the harness's own manifests, each with the answer of a perfect model."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from harness.data.manifest import Prepared, read_manifest
from harness.data.roots import DataRoots
from harness.errors import DataError, SpecError
from harness.imaging import masks
from harness.imaging.media_store import LocalMedia, MediaStore
from harness.records import Capabilities, Entity, Mask, Media, Request, Sample, VisualPrompt
from harness.requests.build import build_request
from harness.requests.visual_prompts import visual_prompts
from harness.tasks import catalog
from harness.tasks.prepare import Notice, prepare_task
from harness.tasks.spec import TaskSpec
from reference_model.inputs.conversation import SEG
from reference_model.inputs.requests import question_about_images, question_of

# What a model is asked about.
MediaKind = Literal["image", "images", "volume"]

# The tasks that a model can be trained on, by what they are answered in; those about volumes also by boxes.
LEARNT: Mapping[MediaKind, tuple[str, ...]] = {
    "image": ("text", "choice", "masks", "grounded_text"),
    "images": ("text", "choice", "masks"),
    "volume": ("text", "choice", "masks", "boxes"),
}
# Capabilities of the reference models plus `target`, so that requests carry the reference answer.
TEACHERS: Mapping[MediaKind, Capabilities] = {
    "image": Capabilities(
        takes=frozenset({"text", "image", "point", "box", "region", "target"}),
        gives=frozenset({"text", "masks"}),
        per_sample=True,
    ),
    # A model that answers in words gives no masks, but stage 0 makes descriptions of images from them.
    "images": Capabilities(
        takes=frozenset({"text", "image", "images", "target"}), gives=frozenset({"text", "masks"}), per_sample=True
    ),
    "volume": Capabilities(
        takes=frozenset({"text", "volume", "box", "target"}),
        gives=frozenset({"text", "masks", "boxes"}),
        per_sample=True,
    ),
}
# The text of a question, by what a model reads.
QUESTIONS: Mapping[MediaKind, Callable[[Request], str]] = {
    "image": question_of,
    "images": question_about_images,
    "volume": lambda request: request.prompt,
}

# Reasons that name a file. Notices leave out its path, so that many missing files of a release make one line.
_FILE_REASON = re.compile(r"^(image|mask) .+ (is missing|cannot be read)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSpec:
    """A set of questions in a mix.

    Attributes:
        task: A task of the harness; its prompt, visual prompts and oracle make the questions and the answers.
        split: The split of its release; `all` for a release without splits.
        ratio: The weight of the set in the mix; None: the number of its questions.
        where: Maps fields to the values to keep, as `release.where` of a task.
    """

    task: str
    split: str = "train"
    ratio: float | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A question about an image or a volume, and its answer.

    Attributes:
        media: The image or volume, or the first of several images.
        question: The question, with an empty pair of region tags for each of `prompts`; about a volume, with the
            request's own marks.
        answer: The answer, with one `<SEG>` (about a volume, `[SEG]`) if there is a mask.
        prompts: The visual prompts, in the order of their tags.
        mask: The union of all instances that `<SEG>` stands for, of the size of the media; None: no mask is asked for,
            or `entities` has the masks.
        name: The name of the structure in the mask or in the region of a visual prompt; empty if it has no name.
        entities: The names and masks of a grounded answer, in the order of its `<SEG>`.
        modality: The imaging modality, as the task's strata name it; empty if they do not.
        further: The images behind the first.
    """

    media: LocalMedia
    question: str
    answer: str
    prompts: tuple[VisualPrompt, ...] = ()
    mask: Mask | None = None
    name: str = ""
    entities: tuple[Entity, ...] = ()
    modality: str = ""
    further: tuple[LocalMedia, ...] = ()

    @property
    def named_masks(self) -> tuple[tuple[str, Mask], ...]:
        """The mask that each `<SEG>` of the answer stands for, and the name of what is in it."""
        if self.mask is not None:
            return ((self.name, self.mask),)
        return tuple((entity.name, entity.mask) for entity in self.entities if entity.mask is not None)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image, in pixels."""
        height, width = self.media.size
        return height, width

    @property
    def media_key(self) -> str:
        """A key that all questions about one image, volume or series of images share, whichever release has them."""
        return " ".join(str(one.record.sha256) for one in (self.media, *self.further))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSet:
    """The questions of one task.

    Attributes:
        task: The name of the task.
        ratio: The weight of the set in the mix.
        examples: At least one example.
        digests: The digests of the manifests that the examples come from.
    """

    task: str
    ratio: float
    examples: tuple[Example, ...]
    digests: tuple[str, ...]


def read_sets(
    wanted: Sequence[SetSpec], roots: Sequence[DataRoots], cache: Path, notice: Notice, kind: MediaKind = "image"
) -> list[ExampleSet]:
    """Prepare and read the sets of a mix.

    Args:
        wanted: The sets, in the order in which they are returned.
        roots: The data roots, read in turn; synthetic patients of several seeds are several roots.
        cache: The cache folder of the harness.
        notice: Called with a line on the samples that are left out, and the reason.
        kind: What the model reads; samples about anything else are left out.

    Raises:
        SpecError: A task does not exist, or is not answered in text, masks or, about volumes, boxes.
        DataError: A release is absent, or a set is empty.
    """
    catalogue = catalog.index()
    return [_read_set(one, catalogue.load(one.task), roots, cache, notice, kind) for one in wanted]


def _read_set(
    wanted: SetSpec, task: TaskSpec, roots: Sequence[DataRoots], cache: Path, notice: Notice, kind: MediaKind
) -> ExampleSet:
    if task.asks != "generate" or task.gives not in LEARNT[kind]:
        raise SpecError(f"data: {wanted.task}: expected a task answered in words or masks, found one of {task.gives}")
    release = replace(task.release, split=wanted.split, where=wanted.where, samples=None)
    task = replace(task, release=release)
    examples: list[Example] = []
    digests: list[str] = []
    for root in roots:
        prepared = prepare_task(task, root, cache, notice)
        examples += _examples(task.asked_of(root.kind), prepared, notice, kind)
        digests.append(prepared.digest)
    if not examples:
        raise DataError(f"data: {wanted.task}: expected samples to learn from in split {wanted.split}, found none")
    ratio = float(len(examples)) if wanted.ratio is None else wanted.ratio
    return ExampleSet(task=wanted.task, ratio=ratio, examples=tuple(examples), digests=tuple(digests))


def _examples(task: TaskSpec, prepared: Prepared, notice: Notice, kind: MediaKind) -> Iterator[Example]:
    store = MediaStore((prepared.root, prepared.derived))
    left_out: dict[str, list[str]] = {}
    for sample in read_manifest(prepared.manifest):
        try:
            yield _example(task, sample, store, kind)
        except DataError as error:
            reason = _FILE_REASON.sub(r"\1 \2", str(error).rpartition(": ")[2])
            left_out.setdefault(reason, []).append(sample.id)
    for reason, ids in left_out.items():
        notice(f"{task.task}: {len(ids)} samples are not learnt from: {reason}; the first is {ids[0]}")


def _example(task: TaskSpec, sample: Sample, store: MediaStore, kind: MediaKind) -> Example:
    """Return the example of a sample.

    Raises:
        DataError: The sample is defective, is not about what the model reads, makes no request, or has no answer or,
            though it is not said to be absent, an empty mask.
    """
    if sample.defect is not None:
        raise DataError(f"{sample.id}: {sample.defect}")
    found = [media.kind for media in sample.media]
    if kind == "images" and set(found) != {"image"}:
        raise DataError(f"{sample.id}: it is not about images")
    if kind != "images" and found != [kind]:
        raise DataError(f"{sample.id}: it is not about one {kind}")
    request = build_request(task, sample, visual_prompts(task, sample), TEACHERS[kind], seed=0, repeat=0)
    if not request.oracle:
        raise DataError(f"{sample.id}: it has no answer")
    # M3D answers a question for what a volume does not show with a sentence, to which no mask belongs.
    refused = kind == "volume" and sample.target.absent
    is_grounded = task.gives == "grounded_text"
    # As a model gets them: in the order of their places in the words.
    media = [LocalMedia(one, store) for one in request.media if isinstance(one, Media)]
    return Example(
        media=media[0],
        question=QUESTIONS[kind](request),
        answer=request.oracle,
        prompts=request.visual_prompts,
        mask=_mask(request, sample.id) if "masks" in request.wants and not (refused or is_grounded) else None,
        entities=_entities(request, sample.id) if is_grounded else (),
        name=sample.target.entities[0].name if sample.target.entities else sample.strata.get("class", ""),
        modality=sample.strata.get("modality", ""),
        further=tuple(media[1:]),
    )


def _mask(request: Request, where: str) -> Mask:
    assert request.target is not None
    found = [entity.mask for entity in request.target.entities if entity.mask is not None]
    merged = masks.merge(found) if found else None
    if merged is None or not masks.area(merged):
        raise DataError(f"{where}: there is nothing to mark")
    return merged


def _entities(request: Request, where: str) -> tuple[Entity, ...]:
    assert request.target is not None
    found = tuple(entity for entity in request.target.entities if entity.mask is not None)
    if str(request.oracle).count(SEG) != len(found):
        raise DataError(f"{where}: its answer has not one {SEG} a mask")
    return found
