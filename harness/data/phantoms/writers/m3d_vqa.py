"""Questions about synthetic CT volumes as M3D-VQA: five types, four options, each answer and letter equally often."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.patients.images import SPLITS
from harness.data.phantoms.patients.volumes import (
    HOSTS,
    PHASES,
    PLANES,
    REMOVABLE,
    draw_volumes,
)
from harness.data.phantoms.writers.m3d_cap import Series, series_of, write_m3d_cap
from harness.data.releases.m3d.vqa import ANSWER, CHOICES, COLUMNS, FILES, IMAGE, LETTER, QUESTION, TEXT, TYPE, TYPES

PATIENTS = 48

PARTS = (
    "upper half of the first slices",
    "lower half of the first slices",
    "upper half of the last slices",
    "lower half of the last slices",
)
STATES = ("a cyst", "a tumor", "nothing abnormal", "not seen at all")
# Organs that may be healthy, have either lesion, or be absent: only of these are all four states possible.
LOSABLE_HOSTS = tuple(organ for organ in HOSTS if organ in REMOVABLE)

# Kind of question -> its wordings. The wording is ours, since phantoms never use a benchmark's own.
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "plane": (
        "Along which plane were these slices taken?",
        "How do the slices of this volume lie?",
        "What is the orientation of the slices?",
    ),
    "phase": (
        "Which phase of contrast does this scan show?",
        "When was this volume taken with respect to the contrast medium?",
        "Name the contrast phase of the scan.",
    ),
    "organ": (
        "Which organ holds the {subject}?",
        "In what organ is the {subject} found?",
        "The {subject} lies in which organ?",
    ),
    "missing organ": (
        "Which organ is absent from this scan?",
        "One organ cannot be found here; which?",
    ),
    "abnormality": (
        "What is the state of the {subject}?",
        "What do you find when you look for the {subject}?",
        "Judge the {subject}: what is there?",
    ),
    "location": (
        "In which part of the volume does the {subject} lie?",
        "Which slices show the {subject}, and where?",
        "Where in the stack of slices is the {subject}?",
    ),
}
# Kind of question -> the release's number of its type; two of our kinds are of type `organ`.
TYPE_OF: Mapping[str, str] = {
    **{kind: code for code, kind in TYPES.items()},
    "missing organ": next(code for code, kind in TYPES.items() if kind == "organ"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question before it is worded.

    Attributes:
        series: The volume it is about.
        kind: A key of `WORDINGS`.
        subject: Organ or lesion that the question names; empty if it names none.
        answer: One of `options`.
        options: All four possible answers.
    """

    series: Series
    kind: str
    subject: str
    answer: str
    options: tuple[str, ...]


def write_m3d_family(root: Path, seed: int, patients: int = PATIENTS) -> None:
    """Write `M3D_Cap_npy/` and `M3D_VQA/` of the same patients below `root`; the same arguments give the same bytes."""
    series = series_of(list(draw_volumes(seed=seed, patients=patients)))
    write_m3d_cap(root, series, seed=seed)
    write_m3d_vqa(root, series, seed=seed)


def write_m3d_vqa(root: Path, series: Sequence[Series], *, seed: int) -> None:
    """Write the tables of `M3D_VQA/` below `root`; the smaller test table has every second question of the other."""
    for number, split in enumerate(SPLITS):
        random = np.random.default_rng([seed, number, 9])
        rows = list(_rows([one for one in series if one.study.split == split], random))
        write_table(root / FILES[split], rows)
        if split == "test":
            write_table(root / FILES["test5k"], rows[::2])


def write_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a CSV file with the release's columns, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file, each by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rows(series: Sequence[Series], random: Generator) -> Iterator[dict[str, str]]:
    """Yield the questions of one split, those of one volume together."""
    asked_of_all = [one for each in series for one in _candidates(each)]
    found: list[tuple[Asked, str]] = []
    for kind in WORDINGS:
        found += _worded([one for one in asked_of_all if one.kind == kind], random)
    places = {id(one): place for place, one in enumerate(series)}
    # Letters are dealt kind by kind: over all kinds together, one kind could still prefer a letter.
    letters: dict[str, Iterator[str]] = {kind: _dealt(random) for kind in WORDINGS}
    for asked, question in sorted(found, key=lambda pair: places[id(pair[0].series)]):
        yield _row(asked, question, next(letters[asked.kind]), random)


def _worded(asked: Sequence[Asked], random: Generator) -> Iterator[tuple[Asked, str]]:
    """Yield questions of one kind with their words: each answer and, with each answer, each wording equally often."""
    by_answer: dict[str, list[Asked]] = {}
    for one in asked:
        by_answer.setdefault(one.answer, []).append(one)
    rounds = min(map(len, by_answer.values()), default=0)
    for answer in sorted(by_answer):
        for number, pick in enumerate(random.permutation(len(by_answer[answer]))[:rounds]):
            one = by_answer[answer][int(pick)]
            wordings = WORDINGS[one.kind]
            yield one, wordings[number % len(wordings)].format(subject=one.subject)


def _dealt(random: Generator) -> Iterator[str]:
    """Yield letters without end, each of them once in every four."""
    letters = list(CHOICES)
    while True:
        yield from (letters[int(place)] for place in random.permutation(len(letters)))


def _row(asked: Asked, question: str, letter: str, random: Generator) -> dict[str, str]:
    wrong = [option for option in asked.options if option != asked.answer]
    mixed = iter([wrong[int(place)] for place in random.permutation(len(wrong))])
    options = {column: asked.answer if own == letter else next(mixed) for own, column in CHOICES.items()}
    return {
        IMAGE: asked.series.image,
        TEXT: asked.series.study.report,
        TYPE: TYPE_OF[asked.kind],
        QUESTION: question,
        **options,
        ANSWER: asked.answer,
        LETTER: letter,
    }


def _candidates(series: Series) -> Iterator[Asked]:
    """Yield every question that can be asked about a volume."""
    study, ask = series.study, partial(Asked, series=series)
    yield ask(kind="plane", subject="", answer=study.plane, options=(*PLANES, "oblique"))
    yield ask(kind="phase", subject="", answer=study.phase, options=PHASES)
    for lesion in study.lesions:
        # With a second lesion of the same name, "the cyst" would be in two organs.
        if sum(other.name == lesion.name for other in study.lesions) == 1:
            yield ask(kind="organ", subject=lesion.name, answer=lesion.organ, options=HOSTS)
    if len(study.absent) == 1:
        yield ask(kind="missing organ", subject="", answer=study.absent[0], options=REMOVABLE)
    for organ in LOSABLE_HOSTS:
        found = study.lesions_in(organ)
        state = f"a {found[0].name}" if found else "nothing abnormal"
        answer = state if study.organ(organ) is not None else "not seen at all"
        yield ask(kind="abnormality", subject=organ, answer=answer, options=STATES)
    for lesion in study.lesions:
        if len(study.lesions_in(lesion.organ, lesion.name)) == 1:
            slices, rows = (float(places.mean()) for places in np.nonzero(lesion.mask)[:2])
            depth, height = lesion.mask.shape[:2]
            half, end = ("upper" if rows < height / 2 else "lower", "first" if slices < depth / 2 else "last")
            subject = f"{lesion.name} of the {lesion.organ}"
            yield ask(kind="location", subject=subject, answer=f"{half} half of the {end} slices", options=PARTS)
