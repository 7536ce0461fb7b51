"""Answers that do not look at the image, and what a row gives for them.

The search behind the gaming certificates of `harness.metrics.certificates`: every blind answer that suits a row, given
to every sample of a task. One of them is plain, as a model would answer that commits itself: a letter, yes, a box in
the centre. The others fail, hedge or flood.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum

import numpy as np

from harness.imaging import masks, soft_masks
from harness.metrics.metric import Metric, Pair, settle
from harness.records import Box, Mask, PredictedEntity, Prediction, Sample, Score, Size
from harness.scoring.score import score

FLOOD = 200  # masks or boxes
_PART = 0.11  # just above the 0.1 at which MedPLIB cuts probabilities
_OF_MASKS = ("masks", "soft_masks", "instances", "grounding", "label_maps", "masks_or_label_maps")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True, slots=True)
class BlindAnswer:
    """One answer to every sample.

    Attributes:
        name: As in the data file.
        words: What is answered, as the predicate of a sentence: "answers ...".
        plain: Whether it is one committed answer, which fails, hedges and floods nothing.
        answer: A sample's fields that a model sees -> the fields of the prediction.
    """

    name: str
    words: str
    plain: bool
    answer: Callable[[Sample], Mapping[str, object]]

    def predict(self, sample: Sample) -> Prediction:
        """Return the prediction for a sample."""
        return Prediction(key=sample.id, status="ok", **self.answer(sample))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Found:
    """A blind answer and the number that it reaches."""

    answer: BlindAnswer
    value: float


def run_number(metric: Metric, scores: Iterable[Score | None]) -> float | None:
    """Return the headline number of a run: the mean over its samples, or the pooled value of a corpus metric.

    Args:
        metric: The row that all scores come from.
        scores: In the order of the samples; None for a sample that the model was not asked.
    """
    counted = [score for score in scores if score is not None and score.status in ("ok", "unparsed")]
    if not counted:
        return None
    if not metric.corpus:
        values = [score.values[0] for score in counted if score.values[0] is not None]
        return fsum(values) / len(values) if values else None
    if metric.pool is not None:
        value = metric.pool([score.stats for score in counted], np.ones(len(counted)))[0]
    else:
        stats = zip(*(score.stats for score in counted), strict=True)
        value = metric.combine(np.asarray([fsum(column) for column in stats]))[0]
    return None if np.isnan(value) else float(value)


def answered(line: str, samples: Sequence[Sample]) -> list[tuple[BlindAnswer, list[Pair]]]:
    """Return the blind answers to one kind of line with their predictions for all samples."""
    return [(blind, [(one, blind.predict(one)) for one in samples]) for blind in blind_answers(line, samples)]


def search(metric: Metric, answers: Iterable[tuple[BlindAnswer, Sequence[Pair]]]) -> tuple[Found | None, Found | None]:
    """Return the best plain blind answer and the best of the others; None if none of a kind has a value.

    Args:
        metric: A row with its parameters bound.
        answers: As `answered` returns them, for the row's kind of line.
    """
    best: dict[bool, Found] = {}
    for blind, pairs in answers:
        settled = settle(metric, pairs)
        value = run_number(metric, (score(settled, sample, 0, prediction) for sample, prediction in pairs))
        known = best.get(blind.plain)
        # Rounded, so that of answers alike to the last bits the first counts on every machine.
        sign = 1 if metric.higher_is_better else -1
        if value is not None and (known is None or round(sign * value, 9) > round(sign * known.value, 9)):
            best[blind.plain] = Found(blind, value)
    return best.get(True), best.get(False)


def blind_answers(line: str, samples: Sequence[Sample]) -> list[BlindAnswer]:
    """Return the blind answers to tasks of one kind of line; their words are those frequent among all the targets."""
    if line == "choice":
        return _choices(max((len(sample.choices) for sample in samples), default=0))
    if line == "text":
        return _texts(samples)
    if line in ("boxes", "sized_boxes"):
        return _boxes()
    if line == "retrieval":
        alike = ((1.0, 0.0), (1.0, 0.0))
        return [
            BlindAnswer("alike", "the same vector for every image and text", True, lambda _: {"embedding": alike}),
            BlindAnswer("none", "no vector", False, lambda _: {}),
        ]
    return _masks(samples) if line in _OF_MASKS else []


def _listed(sample: Sample, form: str, joint: str) -> str:
    options = zip(_LETTERS, sample.choices, strict=False)
    return joint.join(form.format(letter=letter, text=text) for letter, text in options)


def _choices(most: int) -> list[BlindAnswer]:
    def constant(text: str) -> Callable[[Sample], Mapping[str, object]]:
        return lambda _: {"text": text}

    def listing(form: str, joint: str) -> Callable[[Sample], Mapping[str, object]]:
        return lambda sample: {"text": _listed(sample, form, joint)}

    found = []
    for place, letter in enumerate(_LETTERS[:most]):
        # A model of likelihoods answers the same by the lowest of them.
        found += [
            BlindAnswer(
                f"letter_{letter}",
                f"`{letter}`",
                True,
                lambda sample, place=place, letter=letter: {  # type: ignore[misc]
                    "text": letter,
                    "nll": tuple(float(other != place) for other in range(len(sample.choices))),
                },
            ),
            BlindAnswer(
                f"text_{letter}",
                f"the text of option {letter}",
                True,
                lambda sample, place=place: {"text": "".join(sample.choices[place : place + 1])},  # type: ignore[misc]
            ),
            BlindAnswer(f"not_{letter}", f"`It is not {letter}.`", False, constant(f"It is not {letter}.")),
        ]
    return [
        *found,
        BlindAnswer("empty", "nothing", False, lambda _: {"text": ""}),
        BlindAnswer("unclear", "`I cannot tell.`", False, constant("I cannot tell.")),
        BlindAnswer("an_article", "`the`", False, constant("the")),
        BlindAnswer("every_letter", "every letter", False, listing("{letter}", " ")),
        BlindAnswer("every_letter_stopped", "every letter with a full stop", False, listing("{letter}.", " ")),
        BlindAnswer("every_text", "the text of every option", False, listing("{text}", ", ")),
        BlindAnswer("every_option", "every option, letter and text", False, listing("{letter}. {text}", "\n")),
    ]


def _texts(samples: Sequence[Sample]) -> list[BlindAnswer]:
    answers = Counter(sample.target.answers[0] for sample in samples if sample.target.answers)
    words = Counter(word for answer, times in answers.items() for word in answer.lower().split() for _ in range(times))
    plain = dict.fromkeys(["yes", "no", *(answer for answer, _ in _frequent(answers, 3))])
    tricks = {
        "empty": ("nothing", ""),
        "yes_and_no": ("`yes and no`", "yes and no"),
        "no_or_yes": ("`no, or yes`", "no, or yes"),
        "an_article": ("`the`", "the"),
        **{
            f"words_{count}": (
                f"the {count} most frequent words of all answers",
                " ".join(word for word, _ in _frequent(words, count)),
            )
            for count in (1, 2, 3, 5, 10, 20, 50, FLOOD)
        },
    }
    found = [BlindAnswer(f"answer_{place}", f"`{text}`", True, _saying(text)) for place, text in enumerate(plain)]
    return [*found, *(BlindAnswer(name, said, False, _saying(text)) for name, (said, text) in tricks.items())]


def _frequent(counts: Counter[str], count: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:count]


def _saying(text: str) -> Callable[[Sample], Mapping[str, object]]:
    return lambda _: {"text": text}


def _size(sample: Sample) -> Size:
    """Return the size of the image or volume, which a model sees; of a line without one that of the target's masks."""
    if sample.media:
        return tuple(sample.media[0].size)
    return next((tuple(entity.mask.size) for entity in sample.target.entities if entity.mask is not None), (1, 1))


def _grid(size: Size) -> list[Box]:
    """Return boxes of five sizes at eight and five places of the last two axes, and of the whole depth."""
    found = []
    height, width = size[-2:]
    for part in (2, 3, 4, 6, 10):
        tall, wide = max(1, height // part), max(1, width // part)
        for row in range(5):
            for column in range(8):
                y, x = row * (height - tall) // 4, column * (width - wide) // 7
                corners = (x, y, x + wide, y + tall) if len(size) == 2 else (0, y, x, size[0], y + tall, x + wide)
                found.append(Box(corners=tuple(map(float, corners))))
    return found


def _centre(size: Size) -> Box:
    low = [length // 4 for length in size]
    high = [start + max(1, length // 2) for start, length in zip(low, size, strict=True)]
    corners = (*low, *high) if len(size) == 3 else (*low[::-1], *high[::-1])
    return Box(corners=tuple(map(float, corners)))


def _whole(size: Size) -> Box:
    corners = (0,) * len(size) + (tuple(size) if len(size) == 3 else tuple(size)[::-1])
    return Box(corners=tuple(map(float, corners)))


def _boxes() -> list[BlindAnswer]:
    def in_text(boxes: Sequence[Box], sample: Sample) -> str:
        # Where targets are texts, as with M3D, their boxes are shares of the axes.
        size = _size(sample)
        axes = [*size, *size] if len(size) == 3 else [*size[::-1], *size[::-1]]
        scale = axes if sample.target.answers else [1.0] * len(axes)
        shown = (
            ", ".join(f"{corner / length:g}" for corner, length in zip(box.corners, scale, strict=True))
            for box in boxes
        )
        return " ".join(f"[{corners}]" for corners in shown)

    def giving(make: Callable[[Size], Sequence[Box]], *, words: bool) -> Callable[[Sample], Mapping[str, object]]:
        if words:
            return lambda sample: {"text": in_text(make(_size(sample)), sample)}
        return lambda sample: {"boxes": tuple(make(_size(sample)))}

    shapes: list[tuple[str, str, bool, Callable[[Size], Sequence[Box]]]] = [
        ("centre", "a box in the centre", True, lambda size: [_centre(size)]),
        ("whole", "a box of the whole image", True, lambda size: [_whole(size)]),
        ("boxes_200", f"{FLOOD} boxes all over the image", False, _grid),
    ]
    found = [
        BlindAnswer(f"{name}{'_in_words' * words}", said + " in words" * words, plain, giving(make, words=words))
        for name, said, plain, make in shapes
        for words in (False, True)
    ]
    return [*found, BlindAnswer("no_box", "no box", False, lambda _: {"text": ""})]


def _masks(samples: Sequence[Sample]) -> list[BlindAnswer]:
    names = Counter(entity.name for sample in samples for entity in sample.target.entities)
    common = [name for name, _ in _frequent(names, 12)]
    cache: dict[Size, tuple[Mask, ...]] = {}

    def grid(size: Size) -> tuple[Mask, ...]:
        return cache.setdefault(size, tuple(masks.from_box(box, size) for box in _grid(size)))

    def answer(
        find: Callable[[Size], tuple[Mask, ...]], said: Sequence[str]
    ) -> Callable[[Sample], Mapping[str, object]]:
        def give(sample: Sample) -> Mapping[str, object]:
            found = find(_size(sample))
            # With several names each of them has every mask in turn.
            entities = tuple(
                PredictedEntity(name=name, mask=place % len(found)) for place, name in enumerate(said) if found
            )
            return {"text": ", ".join(said), "masks": found, "entities": entities}

        return give

    def centre(size: Size) -> tuple[Mask, ...]:
        return (masks.from_box(_centre(size), size),)

    def faint(sample: Sample) -> Mapping[str, object]:
        size = _size(sample)
        soft = soft_masks.encode(np.full(size, _PART, dtype=np.float32))
        return {"masks": (masks.empty(size),), "soft_masks": (soft,)}

    one = common[:1]
    many = [common[place % len(common)] for place in range(FLOOD)] if common else []
    return [
        BlindAnswer("centre", "a box in the centre", True, answer(centre, one)),
        BlindAnswer("whole", "a mask of everything", True, answer(lambda size: (masks.full(size),), one)),
        BlindAnswer("empty_mask", "a mask without a pixel", False, answer(lambda size: (masks.empty(size),), one)),
        BlindAnswer("no_mask", "no mask", False, answer(lambda _size: (), [])),
        BlindAnswer("masks_200", f"{FLOOD} masks all over the image", False, answer(grid, many)),
        BlindAnswer(
            "names",
            "the frequent names, each with a mask of everything",
            False,
            answer(lambda size: (masks.full(size),) * max(1, len(common)), common),
        ),
        BlindAnswer(
            "names_centre",
            "the frequent names, each with a box in the centre",
            False,
            answer(lambda size: centre(size) * max(1, len(common)), common),
        ),
        BlindAnswer("faint", f"a probability of {_PART:g} everywhere", False, faint),
    ]
