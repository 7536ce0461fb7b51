"""Questions with four options about phantom images: the right option is at every letter equally often.

Wrong options are drawn from the right answers to other images, and within each kind of question every answer is right
equally often, so that neither a letter nor the words of an option give the answer away.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from numpy.random import Generator

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import Study

OPTIONS = 4
MOST_COUNTED = 3
NUMBERS = tuple(str(number) for number in range(MOST_COUNTED + 1))
MODALITIES = tuple(phantom.modality for phantom in MODALITY_PHANTOMS)
ORGANS = tuple(dict.fromkeys(phantom.organ for phantom in MODALITY_PHANTOMS))
# One region per organ: eye and macula are both of the eye, and as two options both would be right.
REGIONS = {phantom.organ: phantom.region for phantom in MODALITY_PHANTOMS}
FINDINGS = tuple(
    structure.name
    for phantom in MODALITY_PHANTOMS
    for structure in phantom.structures
    if structure.role != "organ" and not structure.normal
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionQuestion:
    """A question about an image with its options.

    Attributes:
        study: The image.
        text: The question.
        options: Four options in letter order.
        right: Index of the right option.
    """

    study: Study
    text: str
    options: tuple[str, ...]
    right: int

    @property
    def letter(self) -> str:
        """The right letter."""
        return "ABCD"[self.right]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A question that may be asked about an image.

    Attributes:
        study: The image.
        kind: Questions of one kind are balanced together.
        wordings: Ways to ask it.
        answer: The right option.
        pool: Options from which the wrong ones are drawn.
    """

    study: Study
    kind: str
    wordings: tuple[str, ...]
    answer: str
    pool: tuple[str, ...]


def option_questions(studies: Sequence[Study], random: Generator) -> list[OptionQuestion]:
    """Return balanced questions about images of one split, in the order of the images."""
    # Sorted by image number within each answer, so that the draws below do not depend on the order of `studies`.
    asked = sorted(
        (one for study in studies for one in _candidates(study)),
        key=lambda one: (one.kind, one.answer, one.study.number),
    )
    found: list[OptionQuestion] = []
    for _, kind in groupby(asked, key=lambda one: one.kind):
        found += _balanced(list(kind), random)
    return sorted(found, key=lambda question: question.study.number)


def _candidates(study: Study) -> Iterator[_Asked]:
    phantom = study.modality_phantom
    ways = ("Which imaging technique made this picture?", "By which of these methods was the image taken?")
    yield _Asked(study=study, kind="modality", wordings=ways, answer=phantom.modality, pool=MODALITIES)
    ways = ("Which part of the body does the figure show?", "What was imaged here?")
    regions = tuple(REGIONS[organ] for organ in ORGANS)
    yield _Asked(study=study, kind="region", wordings=ways, answer=REGIONS[phantom.organ], pool=regions)
    if len(study.abnormal) == 1:
        ways = ("Which abnormal finding can be seen?", "What is abnormal in this figure?")
        yield _Asked(study=study, kind="finding", wordings=ways, answer=study.abnormal[0].name, pool=FINDINGS)
    for structure in phantom.structures:
        count = len(study.of(structure))
        if structure.role == "lesion" and count <= MOST_COUNTED:
            ways = (f"How many {structure.plural} does the figure show?", f"Count the {structure.plural}.")
            yield _Asked(study=study, kind="count", wordings=ways, answer=str(count), pool=NUMBERS)


def _balanced(asked: Sequence[_Asked], random: Generator) -> Iterator[OptionQuestion]:
    """Yield questions of one kind: equally many with each answer, the right option at each letter in turn."""
    groups = [list(group) for _, group in groupby(asked, key=lambda one: one.answer)]
    rounds = min(len(group) for group in groups)
    at = int(random.integers(OPTIONS))
    for group in groups:
        for number, pick in enumerate(random.permutation(len(group))[:rounds]):
            one, right = group[int(pick)], at % OPTIONS
            others = [text for text in one.pool if text != one.answer]
            wrong = [others[int(place)] for place in random.permutation(len(others))[: OPTIONS - 1]]
            yield OptionQuestion(
                study=one.study,
                text=one.wordings[number % len(one.wordings)],
                options=(*wrong[:right], one.answer, *wrong[right:]),
                right=right,
            )
            at += 1
