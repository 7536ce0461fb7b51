"""Questions about drawn CT volumes as M3D-VQA: five types, four options, every answer and letter equally frequent."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.patients.images import SPLITS
from harness.data.phantoms.patients.volumes import (
    HOSTS,
    LESION_NAMES,
    PHASES,
    PLANES,
    REMOVABLE,
    Lesion,
    VolumeStudy,
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
LOSABLE_HOSTS = tuple(organ for organ in HOSTS if organ in REMOVABLE)
"""Organs that may be healthy, have either lesion, or be absent."""

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
        subject: What stands in the question; empty where it has no place for it.
        answer: One of `options`.
        options: All answers that are possible, four.
    """

    series: Series
    kind: str
    subject: str
    answer: str
    options: tuple[str, ...]


def write_m3d_family(root: Path, seed: int, patients: int = PATIENTS) -> None:
    """Write `M3D_Cap_npy/` and `M3D_VQA/` below `root`."""
    series = series_of(list(draw_volumes(seed=seed, patients=patients)))
    write_m3d_cap(root, series, seed=seed)
    write_m3d_vqa(root, series, seed=seed)


def write_m3d_vqa(root: Path, series: Sequence[Series], *, seed: int) -> None:
    """Write the tables of `M3D_VQA/` below `root`; of the test questions the smaller table has every second."""
    for number, split in enumerate(SPLITS):
        random = np.random.default_rng([seed, number, 9])
        rows = list(_rows([one for one in series if one.study.split == split], random))
        write_table(root / FILES[split], rows)
        if split == "test":
            write_table(root / FILES["test5k"], rows[::2])


def write_table(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table with the release's columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _rows(series: Sequence[Series], random: Generator) -> Iterator[dict[str, str]]:
    """Yield the questions of one split, those of one volume together."""
    found: list[tuple[Asked, str]] = []
    for kind in WORDINGS:
        found += _worded([one for each in series for one in _MAKERS[kind](each)], random)
    places = {id(one): place for place, one in enumerate(series)}
    letters: dict[str, Iterator[str]] = {kind: _dealt(random) for kind in WORDINGS}
    for asked, question in sorted(found, key=lambda pair: places[id(pair[0].series)]):
        yield _row(asked, question, next(letters[asked.kind]), random)


def _worded(asked: Sequence[Asked], random: Generator) -> Iterator[tuple[Asked, str]]:
    """Yield as many questions with each answer, each wording with each answer alike."""
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
    """Yield letters without end, every one once in each four."""
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


def _plane(series: Series) -> Iterator[Asked]:
    yield Asked(series=series, kind="plane", subject="", answer=series.plane, options=(*PLANES, "oblique"))


def _phase(series: Series) -> Iterator[Asked]:
    yield Asked(series=series, kind="phase", subject="", answer=series.study.phase, options=PHASES)


def _organ(series: Series) -> Iterator[Asked]:
    for lesion in _alone(series.study):
        yield Asked(series=series, kind="organ", subject=lesion.name, answer=lesion.organ, options=HOSTS)


def _missing_organ(series: Series) -> Iterator[Asked]:
    for organ in series.study.absent:
        if len(series.study.absent) == 1:
            yield Asked(series=series, kind="missing organ", subject="", answer=organ, options=REMOVABLE)


def _abnormality(series: Series) -> Iterator[Asked]:
    for organ in LOSABLE_HOSTS:
        yield Asked(
            series=series,
            kind="abnormality",
            subject=organ,
            answer=_state(series.study, organ),
            options=STATES,
        )


def _state(study: VolumeStudy, organ: str) -> str:
    if study.organ(organ) is None:
        return "not seen at all"
    found = study.lesions_in(organ)
    return f"a {found[0].name}" if found else "nothing abnormal"


def _location(series: Series) -> Iterator[Asked]:
    if series.plane == "oblique":
        return
    for lesion in series.study.lesions:
        if len(series.study.lesions_in(lesion.organ, lesion.name)) > 1:
            continue
        slices, rows = (float(places.mean()) for places in np.nonzero(lesion.mask)[:2])
        depth, height = lesion.mask.shape[:2]
        half, end = ("upper" if rows < height / 2 else "lower", "first" if slices < depth / 2 else "last")
        answer = f"{half} half of the {end} slices"
        subject = f"{lesion.name} of the {lesion.organ}"
        yield Asked(series=series, kind="location", subject=subject, answer=answer, options=PARTS)


def _alone(study: VolumeStudy) -> list[Lesion]:
    """Return the lesions that are the only one of their name."""
    counts = {name: sum(lesion.name == name for lesion in study.lesions) for name in LESION_NAMES}
    return [lesion for lesion in study.lesions if counts[lesion.name] == 1]


_MAKERS: Mapping[str, Callable[[Series], Iterator[Asked]]] = {
    "plane": _plane,
    "phase": _phase,
    "organ": _organ,
    "missing organ": _missing_organ,
    "abnormality": _abnormality,
    "location": _location,
}
