"""The sample: one question of a release, with its target."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records.masks import Mask
from harness.records.media import Media
from harness.records.visual_prompts import Box, VisualPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A named thing and its place in the image; `mask` is None if the release names it without a mask."""

    name: str
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The answer of a perfect model.

    Attributes:
        answers: Accepted answers; the first is the reference.
        choice: Letter of the right option.
        entities: Named masks in the frame of the sample's first image or volume.
        boxes: Reference boxes in the same frame.
        caption_id: Identity of the matching text in a retrieval pool.
        absent: The thing asked for is not in the image, so that no mask is the right answer.
        ignore: Pixels that nobody has labelled, or that are void: they are taken out of every predicted mask before it
            is scored, and `entities` have none there. None if all pixels count.
    """

    answers: tuple[str, ...] = ()
    choice: str | None = None
    entities: tuple[Entity, ...] = ()
    boxes: tuple[Box, ...] = ()
    caption_id: str | None = None
    absent: bool = False
    ignore: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question of a release, with its target. Readers yield samples; models never see one.

    Attributes:
        id: `<dataset>/<split>/<source id>`, unique in its release.
        media: Images or volumes, in the order in which the question refers to them.
        question: The release's own words; empty if the task's template asks the question.
        choices: Option texts, in letter order.
        visual_prompts: The boxes, points or regions that the release points at.
        target: The answer of a perfect model.
        strata: The sample's stratum for each key (modality, organ, ...), in lower case.
        cluster: The unit that the bootstrap resamples as a whole: the patient, else the study, else the image.
        defect: Why the sample cannot be asked, such as a missing or unreadable file; its prediction then has the status
            `data_error`.
    """

    id: str
    media: tuple[Media, ...] = ()
    question: str = ""
    choices: tuple[str, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    target: Target = field(default_factory=Target)
    strata: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    defect: str | None = None
