"""A question of a release and its target."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records.masks import Mask
from harness.records.media import Media
from harness.records.visual_prompts import Box, VisualPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A named thing and where it is; `mask` is None when the release names it without a mask."""

    name: str
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a perfect model would answer.

    Attributes:
        answers: Accepted texts, the first being the reference.
        choice: Letter of the right option.
        entities: Named masks.
        boxes: Reference boxes.
        caption_id: Identity of the matching text in a retrieval pool.
        absent: There is nothing to find: no mask is the right answer.
    """

    answers: tuple[str, ...] = ()
    choice: str | None = None
    entities: tuple[Entity, ...] = ()
    boxes: tuple[Box, ...] = ()
    caption_id: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question of a release, with its target.

    Attributes:
        id: `<dataset>/<split>/<source id>`.
        media: Images or volumes in the order the question means them.
        question: The release's own words; empty where the task's template asks.
        choices: Option texts in letter order.
        visual_prompts: What the release points at.
        target: What a perfect model would answer.
        strata: Lower-case value per stratum key.
        cluster: Patient, else study, else image: what is resampled together.
        defect: Why the sample cannot be asked (a missing or unreadable file); it becomes a `data_error`.
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
