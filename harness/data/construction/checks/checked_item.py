"""A constructed item as the checks see it: its words, and the facts about its image that they are held against."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedMask:
    """A mask that an item binds to a name.

    Attributes:
        name: The name as the item says it.
        class_name: Class of the mask by its file or its label; None if it has none.
        area: Number of its pixels or voxels; None if the mask is missing or cannot be read.
        fault: Why the mask cannot be used although it is there; empty if it can.
    """

    name: str
    class_name: str | None
    area: int | None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedItem:
    """One item, with the facts about its image that it is held against.

    Attributes:
        image: Path of the image or volume below the data root.
        image_sha256: Digest of its file; empty if it was not read.
        question, answer: Words, without tags.
        marks: Tags of the release's markup that the question may hold, each once: `<region>`.
        visual_prompt: What the question points at, in any unique spelling; empty if it points at nothing.
        options: Answers to choose from; empty for an open question.
        choice: Letter of the right option, A for the first; empty if the item has none.
        hidden: Names that the question must not say, because they are what it asks for.
        named: Names that the answer has to say.
        present: Names of everything that the masks or labels of the image show.
        material: Everything else that the model was given to write from; what it names is no invention.
        sides: `left`, `right` or both by name, as the label of a structure states them or else as `places`: what "left
            kidney" means. A name without a known side is left out.
        places: The same for the sides of the image: what "the kidney is on the left" means.
        masks: The masks that the item binds.
    """

    image: str = ""
    image_sha256: str = ""
    question: str = ""
    answer: str = ""
    marks: tuple[str, ...] = ()
    visual_prompt: str = ""
    options: tuple[str, ...] = ()
    choice: str = ""
    hidden: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    present: tuple[str, ...] = ()
    material: str = ""
    sides: Mapping[str, frozenset[str]] = field(default_factory=dict)
    places: Mapping[str, frozenset[str]] = field(default_factory=dict)
    masks: tuple[CheckedMask, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the items of a pipeline are held to.

    Attributes:
        language: `en` or `zh`: the language of questions and answers.
        question_words, answer_words: Most words; a Chinese character is one word.
        organs_from_material: Whether an organ that neither the masks nor the material name is an invention. It is one
            if the model saw words only; a model that saw the image may name what has no mask.
    """

    language: str = "en"
    question_words: int = 80
    answer_words: int = 300
    organs_from_material: bool = True
