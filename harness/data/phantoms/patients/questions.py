"""Questions about phantom images: every answer is read off the masks, and no answer is likelier than another.

A topic is one thing that can be asked. Each topic takes equally many images per answer, and each of its wordings is
used equally often with every answer, so that neither the question nor its words give the answer away.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from numpy.random import Generator

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.drawing.modality import Structure, with_article
from harness.data.phantoms.patients.images import PhantomPart, Study

QuestionType = Literal["PRES", "POS", "SIZE", "COUNT", "MODALITY", "ORGAN", "ABN"]
YES_NO = ("no", "yes")
SIDES = ("left", "right")
MOST_COUNTED = 3

# A part nearer to the middle than this share of half the width is on neither side: a reader could argue either way.
OFF_CENTRE = 0.10
# Ratio of areas from which one of two organs is the larger; a smaller difference is not asked about.
LARGER = 1.10
# Structures that no other modality can show, so that "no" is right about any image of another one.
ELSEWHERE = (
    "kidney cyst",
    "white matter lesion",
    "pleural effusion",
    "polyp",
    "parasite",
    "epithelial detachment",
)
# Share of images that get such a question.
ELSEWHERE_RATE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing that can be asked.

    Attributes:
        key: Its name; candidates of one key are balanced together, those of several modalities included.
        type: Kind of question, in the words of VQA-RAD.
        wordings: Ways to ask it.
        answers: Answers that must all occur for it to be asked; empty if any will do.
    """

    key: str
    type: QuestionType
    wordings: tuple[str, ...]
    answers: tuple[str, ...] = ()

    @property
    def closed(self) -> bool:
        """Whether the question names its possible answers."""
        return self.answers in (YES_NO, SIDES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A topic, asked about one image in one of its wordings.

    Attributes:
        study: The image.
        topic: The topic.
        text: The question.
        answer: The right answer.
    """

    study: Study
    topic: Topic
    text: str
    answer: str


# (image, topic, answer): a question that may be asked.
Candidate = tuple[Study, Topic, str]


def balanced_questions(studies: Iterable[Study], random: Generator) -> list[Question]:
    """Return questions about images of one split, in the order of the images.

    Within a topic each answer is right equally often. A topic of which a wanted answer never occurs, or only one, is
    left out. Empty if there are no images.

    Args:
        studies: Images of one split.
        random: Source of the random numbers; their order, and so the questions, depend on the order of `studies`.
    """
    topics: dict[str, dict[str, list[Candidate]]] = {}
    for study in studies:
        for candidate in _candidates(study, random):
            topics.setdefault(candidate[1].key, {}).setdefault(candidate[2], []).append(candidate)
    found: list[Question] = []
    for by_answer in topics.values():
        found += _balanced(by_answer, random)
    return sorted(found, key=lambda question: question.study.number)


def _balanced(by_answer: dict[str, list[Candidate]], random: Generator) -> Iterator[Question]:
    """Yield questions of one topic: equally many with each answer, each wording equally often with each answer."""
    topic = next(iter(by_answer.values()))[0][1]
    if any(answer not in by_answer for answer in topic.answers):
        return
    wanted = sorted(topic.answers or by_answer)
    if len(wanted) < 2:
        return
    rounds = min(len(by_answer[answer]) for answer in wanted)
    # All answers begin with the same wording, so that their wordings stay in step; which one is drawn per topic.
    first = int(random.integers(len(topic.wordings)))
    for answer in wanted:
        order = random.permutation(len(by_answer[answer]))[:rounds]
        for number, pick in enumerate(order):
            study, own, _ = by_answer[answer][int(pick)]
            text = own.wordings[(first + number) % len(own.wordings)]
            yield Question(study=study, topic=own, text=text, answer=answer)


def _candidates(study: Study, random: Generator) -> Iterator[Candidate]:
    """Yield everything that can be asked about an image."""
    for structure in study.modality_phantom.structures:
        parts = study.of(structure)
        if structure.role != "organ":
            yield study, _presence(structure), _yes(bool(parts))
        if structure.role == "lesion" and parts:
            yield from ((study, topic, answer) for topic, answer in _counts(structure, len(parts)))
        if structure.paired and len(parts) == 2:
            yield from ((study, topic, answer) for topic, answer in _sizes(structure, parts))
        elif len(parts) == 1 and abs(parts[0].across) > OFF_CENTRE:
            yield from ((study, topic, answer) for topic, answer in _sides(study, structure, parts[0]))
    if random.random() < ELSEWHERE_RATE:
        yield from _absent(study, random)
    yield from _whole_image(study, random)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _presence(structure: Structure) -> Topic:
    name = structure.with_article
    wordings = (f"Is there {name} in this image?", f"Can you see {name} here?", f"Does the picture show {name}?")
    return Topic(key=f"presence {structure.name}", type="PRES", wordings=wordings, answers=YES_NO)


def _absent(study: Study, random: Generator) -> Iterator[Candidate]:
    """Yield a question about a structure that only another modality shows."""
    own = {structure.name for structure in study.modality_phantom.structures}
    others = [name for name in ELSEWHERE if name not in own]
    name = others[int(random.integers(len(others)))]
    structure = next(one for phantom in MODALITY_PHANTOMS for one in phantom.structures if one.name == name)
    yield study, _presence(structure), "no"


def _counts(structure: Structure, count: int) -> Iterator[tuple[Topic, str]]:
    name, names = structure.name, structure.plural
    for limit, word in ((1, "one"), (2, "two")):
        noun = name if limit == 1 else names
        wordings = (
            f"{'Is' if limit == 1 else 'Are'} there more than {word} {noun} in this image?",
            f"Do you count more than {word} {noun}?",
        )
        topic = Topic(key=f"more than {word} {name}", type="COUNT", wordings=wordings, answers=YES_NO)
        yield topic, _yes(count > limit)
    amounts = (
        f"How many {names} are there in this image?",
        f"What is the number of {names} shown?",
        f"Count the {names}.",
    )
    if count <= MOST_COUNTED:
        yield Topic(key=f"count {name}", type="COUNT", wordings=amounts), str(count)


def _sides(study: Study, structure: Structure, part: PhantomPart) -> Iterator[tuple[Topic, str]]:
    """Yield questions for the side of the image that a part is on, as a choice and as yes or no."""
    name, side = structure.name, SIDES[part.across > 0]
    key = f"{study.modality_phantom.code} {name}"
    wordings = (
        f"On which side of the image is the {name}, left or right?",
        f"Is the {name} left or right of the image's middle?",
    )
    yield Topic(key=f"side of {key}", type="POS", wordings=wordings, answers=SIDES), side
    for half in SIDES:
        wordings = (f"Does the {name} lie in the {half} half of the image?", f"Is the {name} on the image's {half}?")
        yield Topic(key=f"{key} {half}", type="POS", wordings=wordings, answers=YES_NO), _yes(side == half)


def _sizes(structure: Structure, parts: tuple[PhantomPart, ...]) -> Iterator[tuple[Topic, str]]:
    """Yield questions for the larger of two organs in the image, as a choice and as yes or no."""
    left, right = sorted(parts, key=lambda part: part.across)
    if max(left.area, right.area) < LARGER * min(left.area, right.area):
        return
    larger, names = SIDES[right.area > left.area], structure.plural
    wordings = (
        f"Which of the two {names} is the larger in the image, the left or the right one?",
        f"Does the left or the right of the two {names} cover more of the image?",
    )
    yield Topic(key=f"larger {structure.name}", type="SIZE", wordings=wordings, answers=SIDES), larger
    for half in SIDES:
        wordings = (
            f"Of the two {names}, is the one on the image's {half} the larger?",
            f"Does the {half} one of the {names} in the image cover more of it than the other?",
        )
        yield (
            Topic(key=f"larger {structure.name} {half}", type="SIZE", wordings=wordings, answers=YES_NO),
            _yes(larger == half),
        )


def _whole_image(study: Study, random: Generator) -> Iterator[Candidate]:
    """Yield the modality of an image, the part of the body that it shows, and its only abnormality."""
    phantom = study.modality_phantom
    others = [other for other in MODALITY_PHANTOMS if other.code != phantom.code]
    for answer, asked in (("yes", phantom), ("no", others[int(random.integers(len(others)))])):
        wordings = tuple(f"Is this {with_article(alias)}?" for alias in asked.aliases)
        topic = Topic(key=f"is {asked.code}", type="MODALITY", wordings=wordings, answers=YES_NO)
        yield study, topic, answer
    wordings = ("Which imaging modality is this?", "How was this image taken?", "Name the imaging technique.")
    yield study, Topic(key="modality", type="MODALITY", wordings=wordings), phantom.modality
    wordings = ("Which part of the body is shown?", "What has been imaged here?", "Name the region in view.")
    yield study, Topic(key="region", type="ORGAN", wordings=wordings), phantom.region
    if len(study.abnormal) == 1:
        wordings = ("What is abnormal in this image?", "Which abnormal finding does the image show?")
        key = f"abnormal {phantom.code}"
        yield study, Topic(key=key, type="ABN", wordings=wordings), study.abnormal[0].name
