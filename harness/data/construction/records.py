"""What passes through a pipeline: sources, questions, replies, items and rejections."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records import Json, Media, PredictionStatus
from harness.records.codec import media_from_json, to_json
from harness.records.request import Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input of a pipeline, usually an image or a volume with everything that is known of it.

    Attributes:
        id: Unique in the pipeline; every item's id begins with it.
        media: Images and volumes that the model may see, with paths below the data root.
        inputs: sha256 of every file that it is made from, by path below the data root.
        facts: What the pipeline knows of it, as JSON values.
        cluster: The patient, or whatever must not be divided between splits.
        split: Split of the source if its release has one; empty if the pipeline splits by cluster.
        origin: Name of the collection that it comes from, by which the card finds its licence.
        strata: What the card counts it by.
    """

    id: str
    media: tuple[Media, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Json] = field(default_factory=dict)
    cluster: str = ""
    split: str = ""
    origin: str = ""
    strata: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Json]:
        """Return the source as JSON values, from which `source_from_json` makes it again."""
        value: dict[str, Json] = to_json(self)
        return value


def source_from_json(value: Mapping[str, Json]) -> Source:
    """Return a source from the JSON values of `Source.to_json`."""
    media = value.get("media", ())
    return Source(**{**value, "media": tuple(media_from_json(one) for one in media)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question to the model about a source.

    Attributes:
        name: Unique among the questions on its source, whatever the step: `generate`, `check/3`.
        prompt: Name of the prompt, `FILE/NAME`.
        version: Version of the prompt.
        messages: The turns.
        decoding: Settings of generation.
    """

    name: str
    prompt: str
    version: int
    messages: tuple[Turn, ...]
    decoding: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The model's reply to one question.

    Attributes:
        question: Name of the question.
        prompt, version: The prompt.
        key: Key of the request, under which the run directory holds the reply.
        status: Of the prediction; only `ok` and `truncated` replies reach a `Read` step.
        text: The raw reply.
        error: What went wrong; empty for a usable reply.
    """

    question: str
    prompt: str
    version: int
    key: str
    status: PredictionStatus
    text: str
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemMask:
    """A mask that an item refers to.

    Attributes:
        name: Name of the entity.
        path: File of the mask, below the data root or, for one that the pipeline writes, below the release.
        value: Value of the entity in a label file; None for a file of one mask.
        area: Foreground pixels or voxels; None if nobody counted them.
    """

    name: str
    path: str
    value: int | None = None
    area: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One record that is to enter the release.

    Attributes:
        id: `SOURCE#NAME`, unique in the release.
        source: What it is about.
        kind: Sort of item, such as a question type; the card counts by it.
        question, answer: As they are released, without the release's own markup where it has any.
        choices: The options in the order of their letters; empty for an open question.
        choice: Letter of the right option; empty for an open question.
        masks: Masks that question or answer refer to.
        fields: Further values that only the pipeline's own steps and its writer know, as JSON values.
        replies: Names of the questions whose replies it follows from; empty for a template alone.
        template: `FILE/NAME v1` of the templates that its words come from; empty if the model wrote them.
    """

    id: str
    source: Source
    kind: str
    question: str
    answer: str
    choices: tuple[str, ...] = ()
    choice: str = ""
    masks: tuple[ItemMask, ...] = ()
    fields: Mapping[str, Json] = field(default_factory=dict)
    replies: tuple[str, ...] = ()
    template: str = ""

    def to_json(self) -> dict[str, Json]:
        """Return the item as JSON values, its source by id."""
        value: dict[str, Json] = {"id": self.id, "kind": self.kind, "question": self.question, "answer": self.answer}
        if self.choices:
            value |= {"choices": list(self.choices), "choice": self.choice}
        if self.masks:
            value["masks"] = [to_json(mask) for mask in self.masks]
        return value | ({"fields": dict(self.fields)} if self.fields else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """What a step has turned away: a source, a reply or an item.

    Attributes:
        reason: Name of the fault, by which the funnel counts: that of the check, or one that a `Read` step names.
        detail: What was expected and what was found.
        item: The item; None for a source or a reply that gave none.
        replies: Names of the questions whose replies it follows from, if there is no item.
    """

    reason: str
    detail: str = ""
    item: Item | None = None
    replies: tuple[str, ...] = ()
