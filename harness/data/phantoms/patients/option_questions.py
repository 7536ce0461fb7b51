"""Questions with four options about drawn pictures: the right one stands at every letter alike.

Wrong options are drawn among what is right of other pictures, and of each kind of question every answer is right
equally often, so neither a letter nor an option's words give the answer away.
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
REGIONS = {phantom.organ: phantom.region for phantom in MODALITY_PHANTOMS}
"""One region an organ: the eye and the macula of it would both be right."""
FINDINGS = tuple(
    structure.name
    for phantom in MODALITY_PHANTOMS
    for structure in phantom.structures
    if structure.role != "organ" and not structure.normal
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionQuestion:
    """A question on a picture with its options.

    Attributes:
        options: In letter order.
        right: Place of the right one.
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
    """What may be asked of a picture.

    Attributes:
        kind: Questions of one kind are balanced together.
        pool: What the wrong options are drawn from.
    """

    study: Study
    kind: str
    wordings: tuple[str, ...]
    answer: str
    pool: tuple[str, ...]


def option_questions(studies: Sequence[Study], random: Generator) -> list[OptionQuestion]:
    """Return questions on pictures of one split, by picture."""
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
    """Yield questions of one kind: as many with each answer, the right option at each letter in turn."""
    groups = [list(group) for _, group in groupby(asked, key=lambda one: one.answer)]
    rounds = min(len(group) for group in groups)
    at = int(random.integers(OPTIONS))
    for group in groups:
        for number, pick in enumerate(random.permutation(len(group))[:rounds]):
            one = group[int(pick)]
            yield OptionQuestion(
                study=one.study,
                text=one.wordings[number % len(one.wordings)],
                options=_options(one, at % OPTIONS, random),
                right=at % OPTIONS,
            )
            at += 1


def _options(one: _Asked, right: int, random: Generator) -> tuple[str, ...]:
    others = [text for text in one.pool if text != one.answer]
    wrong = [others[int(pick)] for pick in random.permutation(len(others))[: OPTIONS - 1]]
    return (*wrong[:right], one.answer, *wrong[right:])
