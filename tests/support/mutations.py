"""Small runs of every kind of answer, and ways to fail, repeat, flood and hedge that do not look at the target.

All comes from a seed. A run is some samples with an answer each, right, nearly right and wrong ones among them. A
mutation changes answers by what a model sees of a sample: its options and the size of its image.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Literal

import numpy as np

from harness.imaging import masks
from harness.metrics.metric import Pair
from harness.records import Box, Entity, Mask, Media, PredictedEntity, Prediction, PredictionStatus, Sample, Target

FLOOD = 200  # masks, boxes or names
NAMES = ("liver", "spleen", "left kidney", "right kidney", "tumour", "aorta", "lung nodule")
SIZES = ((12, 17), (4, 6, 9))
OPTIONS = (
    ("Liver", "Spleen", "Left kidney", "Right kidney"),
    ("Yes", "No"),
    ("CT", "MRI", "X-ray", "Ultrasound"),
    ("A fluid level", "An air bubble", "The aorta", "Glioma"),
    ("Normal", "Abnormal", "Normal variant"),
)
CLOSED = ("yes", "no")
OPEN = ("liver", "left lung", "pleural effusion", "2 nodules", "x-ray", "the right kidney is enlarged")
REPORTS = (
    "The heart is mildly enlarged. There is no pleural effusion.",
    "A nodule of 8 mm lies in the right upper lobe of the lung.",
    "The liver and the spleen are of normal size.",
    "No acute abnormality.",
)
PHRASES = (
    *("{}", "{}.", "The answer is {}.", "It is {}.", "I think it is {}", "**{}**", "Answer: {}", "<think>hm</think>{}"),
    *("not {}", "It is not {}.", "{} or something else", "I cannot say {}", "{}, but I am not sure", "maybe {}?"),
)
NOTHING_SAID = ("", "I cannot tell.", "The image is unclear.", "none of these", "<think>liver, or yes")

Mutation = Callable[[Sample, Prediction, Random], Prediction]


@dataclass(frozen=True, slots=True)
class Run:
    """Samples with an answer each."""

    pairs: tuple[Pair, ...]

    def mutated(self, mutation: Mutation, places: Sequence[int], random: Random) -> "Run":
        """Return the run with the answers at these places changed."""
        pairs = list(self.pairs)
        for place in places:
            pairs[place] = (pairs[place][0], mutation(*pairs[place], random))
        return Run(tuple(pairs))


# --- runs


@cache
def pool(size: tuple[int, ...]) -> tuple[Mask, ...]:
    """Return masks of a size: blocks of at least 6 pixels, pairs that overlap much or little, and some noise."""
    draw = np.random.default_rng(7)
    found = []
    for _ in range(36):
        array = np.zeros(size, dtype=bool)
        starts = [int(draw.integers(0, length - 2)) for length in size]
        ends = [int(draw.integers(start + 2, length + 1)) for start, length in zip(starts, size, strict=True)]
        array[tuple(slice(*span) for span in zip(starts, ends, strict=True))] = True
        array[..., 0:3] |= draw.random((*size[:-1], 3)) < 0.2 * (draw.random() < 0.3)
        found.append(masks.encode(array))
    return tuple(mask for mask in found if masks.area(mask) >= 6)


@cache
def tiles(size: tuple[int, ...]) -> tuple[Mask, ...]:
    """Return masks that cover the whole frame once, at most two pixels each."""
    places = np.arange(int(np.prod(size))).reshape(size)
    return tuple(masks.encode(places * FLOOD // places.size == place) for place in range(FLOOD))


@cache
def scattered(size: tuple[int, ...]) -> tuple[Mask, ...]:
    """Return filled boxes all over the frame, of all sizes."""
    return tuple(masks.from_box(box, size) for box in boxes(size))


@cache
def boxes(size: tuple[int, ...]) -> tuple[Box, ...]:
    """Return boxes all over the frame, of all sizes."""
    draw, found = np.random.default_rng(3), []
    for _ in range(FLOOD):
        starts = [int(draw.integers(0, length)) for length in size]
        ends = [int(draw.integers(start, length)) + 1 for start, length in zip(starts, size, strict=True)]
        found.append(Box(corners=(*starts, *ends) if len(size) == 3 else (*starts[::-1], *ends[::-1])))
    return tuple(found)


def _sample(place: int, size: tuple[int, ...] = (), **fields: object) -> Sample:
    kind: Literal["image", "volume"] = "volume" if len(size) == 3 else "image"
    media = (Media(path="a", sha256="0" * 64, kind=kind, size=size),) if size else ()
    return Sample(id=f"s/{place:03}", media=media, cluster=f"p{place}", **fields)  # type: ignore[arg-type]


def _choice(place: int, random: Random) -> Pair:
    options = random.choice(OPTIONS)
    right, said = random.randrange(len(options)), random.randrange(len(options))
    form = random.choice((*PHRASES, "{}. " + options[said]))
    text = form.format(random.choice((chr(65 + said), options[said])))
    text = random.choice(NOTHING_SAID) if random.random() < 0.2 else text
    nll = tuple(random.choice((0.5, 1.0, 2.0)) for _ in options)
    target = Target(choice=chr(65 + right), answers=(options[right],))
    return _sample(place, choices=options, target=target), Prediction(key=str(place), status="ok", text=text, nll=nll)


def _text(place: int, random: Random) -> Pair:
    answers = random.choice((CLOSED, OPEN, REPORTS))
    text = random.choice(PHRASES).format(random.choice(answers))
    text = random.choice(NOTHING_SAID) if random.random() < 0.2 else text
    right = tuple(random.sample(answers, 2 if answers is OPEN and random.random() < 0.2 else 1))
    return _sample(place, target=Target(answers=right)), Prediction(key=str(place), status="ok", text=text)


def _like(mask: Mask, random: Random) -> Mask:
    """Return the mask itself, or moved by a pixel along an axis."""
    return masks.encode(np.roll(masks.decode(mask), random.choice((-1, 0, 1)), axis=random.randrange(len(mask.size))))


def _masks(place: int, random: Random, *, size: tuple[int, ...]) -> Pair:
    apart: list[Mask] = []  # structures of one image lie side by side
    for mask in random.sample(pool(size), random.choice((0, 1, 1, 2, 6))):
        if all(not masks.intersection(mask, other) for other in apart):
            apart.append(mask)
    wanted = tuple(Entity(name=name, mask=mask) for name, mask in zip(random.sample(NAMES, 7), apart, strict=False))
    found: list[Mask] = []
    entities: list[PredictedEntity] = []
    for entity in wanted:
        assert entity.mask is not None
        if random.random() < 0.8:
            name = entity.name if random.random() < 0.7 else random.choice(NAMES)
            entities.append(PredictedEntity(name=name, mask=len(found)))
            found.append(_like(entity.mask, random) if random.random() < 0.6 else random.choice(pool(size)))
    if random.random() < 0.3 or not found:
        entities.append(PredictedEntity(name=random.choice(NAMES), mask=len(found)))
        found.append(random.choice((*pool(size), masks.empty(size))))
    absent = () if wanted else (Entity(name="tumour", mask=masks.empty(size)),)
    # A release says so where there is nothing to find; one that does not has an empty mask as its target.
    target = Target(entities=wanted or absent, absent=not wanted and random.random() < 0.7)
    return _sample(place, size, target=target), Prediction(
        key=str(place), status="ok", text="found", masks=tuple(found), entities=tuple(entities)
    )


def _boxes(place: int, random: Random) -> Pair:
    size = random.choice(SIZES)
    right, said = random.choice(boxes(size)), random.choice((*boxes(size), None))
    said = right if said is not None and random.random() < 0.4 else said
    target = Target(absent=True) if random.random() < 0.1 else Target(boxes=(right,))
    if said is None:
        prediction = Prediction(key=str(place), status="ok", text=random.choice(NOTHING_SAID))
    elif random.random() < 0.5:
        prediction = Prediction(key=str(place), status="ok", text=f"It lies at {list(said.corners)}.")
    else:
        prediction = Prediction(key=str(place), status="ok", boxes=(said,))
    return _sample(place, size, target=target), prediction


def _retrieval(place: int, random: Random) -> Pair:
    image = [float(random.randint(-2, 2)) for _ in range(4)]
    text = image if random.random() < 0.3 else [float(random.randint(-2, 2)) for _ in range(4)]
    target = Target(caption_id=str(random.randint(0, 30)))
    return _sample(place, target=target), Prediction(key=str(place), status="ok", embedding=(tuple(image), tuple(text)))


KINDS: Mapping[str, Callable[[int, Random], Pair]] = {
    "choice": _choice,
    "text": _text,
    "masks 2-D": lambda place, random: _masks(place, random, size=SIZES[0]),
    "masks 3-D": lambda place, random: _masks(place, random, size=SIZES[1]),
    "boxes": _boxes,
    "retrieval": _retrieval,
}


def run(kind: str, random: Random, most: int = 7) -> Run:
    """Return a run of 1 to `most` samples."""
    return Run(tuple(KINDS[kind](place, random) for place in range(random.randint(1, most))))


# --- failing and repeating


def _with(status: PredictionStatus) -> Mutation:
    return lambda _sample, prediction, _random: replace(prediction, status=status)


def _left_out(_sample: Sample, prediction: Prediction, _random: Random) -> Prediction:
    return Prediction(key=prediction.key, status="model_error")


def _is_answer(sample: Sample) -> bool:
    """Return whether nothing is an answer: where there is nothing to find."""
    found = [masks.area(entity.mask) for entity in sample.target.entities if entity.mask is not None]
    boxed = bool(sample.media) and not found and not sample.target.boxes
    return sample.target.absent or boxed or (bool(found) and not any(found))


def _emptied(sample: Sample, prediction: Prediction, _random: Random) -> Prediction:
    return prediction if _is_answer(sample) else Prediction(key=prediction.key, status="empty")


FAILING: Mapping[str, Mutation] = {
    "left out": _left_out,
    "refused": _with("refused"),
    "model_error": _with("model_error"),
    "timeout": _with("timeout"),
    "emptied": _emptied,
}


def _broken(sample: Sample, prediction: Prediction, random: Random) -> Prediction:
    """Return an answer that was given and holds nothing that can be read; masks and boxes are lost."""
    if _is_answer(sample):
        return prediction
    text = random.choice(("", "???", "<think>" + (prediction.text or ""), "\ufffd\ufffd", "nan"))
    return Prediction(key=prediction.key, status="ok", text=text)


def _twice(_sample: Sample, prediction: Prediction, random: Random) -> Prediction:
    text = prediction.text
    copies = tuple(
        replace(entity, mask=None if entity.mask is None else entity.mask + len(prediction.masks))
        for entity in prediction.entities
    )
    return replace(
        prediction,
        text=None if text is None else random.choice((" ", "\n", ". ", "\n\n", ", ")).join((text, text)),
        masks=prediction.masks * 2,
        boxes=prediction.boxes * 2,
        entities=(*prediction.entities, *copies),
        embedding=(*prediction.embedding[:1], *prediction.embedding),
    )


BROKEN: Mapping[str, Mutation] = {"broken": _broken}
REPEATED: Mapping[str, Mutation] = {"twice": _twice}


# --- flooding and hedging: what is added is the same whatever the answer was


def _hedge(sample: Sample, random: Random) -> str:
    """Return words that name several options, or both yes and no."""
    if not sample.choices:
        return random.choice(
            ("yes and no", "yes or no", "Yes/No", "both yes and no", "It is yes. It is no.", "no, yes")
        )
    letters = [chr(65 + place) for place in range(len(sample.choices))]
    # At least two whose texts differ, for equal texts are one answer.
    named = random.sample(letters, random.randint(2, len(letters)))
    texts = [sample.choices[ord(letter) - 65] for letter in named]
    items = random.choice((named, texts, [f"{a}. {b}" for a, b in zip(named, texts, strict=True)]))
    form = random.choice(("{}", "The answer is {}.", "It could be {}.", "Answer: {}"))
    return form.format(random.choice((", ", " or ", " and ", "/", "\n", ". ")).join(items))


def _hedged(sample: Sample, prediction: Prediction, random: Random) -> Prediction:
    hedge, text = _hedge(sample, random), prediction.text or ""
    joined = random.choice((f"{text}\n{hedge}", f"{text}. {hedge}", f"{hedge}\n{text}", f"{text}\n\n{hedge}", hedge))
    return replace(prediction, text=joined, nll=(1.0,) * len(prediction.nll))


def _flooded(cover: bool) -> Mutation:
    def flood(sample: Sample, prediction: Prediction, _random: Random) -> Prediction:
        size = sample.media[0].size
        added = (tiles if cover else scattered)(size)
        first = len(prediction.masks)
        entities = tuple(
            PredictedEntity(name=NAMES[place % len(NAMES)], mask=first + place) for place in range(len(added))
        )
        return replace(
            prediction, masks=(*prediction.masks, *added), entities=(*prediction.entities, *entities), status="ok"
        )

    return flood


def _boxed(sample: Sample, prediction: Prediction, _random: Random) -> Prediction:
    added = boxes(sample.media[0].size)
    if prediction.boxes:
        return replace(prediction, boxes=(*prediction.boxes, *added))
    text = f"{prediction.text or ''} " + " ".join(str(list(box.corners)) for box in added)
    return replace(prediction, text=text)


def _alike(_sample: Sample, prediction: Prediction, _random: Random) -> Prediction:
    return replace(prediction, embedding=((1.0, 1.0, 1.0, 1.0),) * 2)


FLOODING: Mapping[str, Mapping[str, Mutation]] = {
    "choice": {"hedged": _hedged},
    "text": {"hedged": _hedged},
    "masks 2-D": {"200 tiles": _flooded(cover=True), "200 boxes": _flooded(cover=False)},
    "masks 3-D": {"200 tiles": _flooded(cover=True), "200 boxes": _flooded(cover=False)},
    "boxes": {"200 boxes": _boxed},
    "retrieval": {"all alike": _alike},
}


def silent(prediction: Prediction) -> Prediction:
    """Return an answer that says nothing yet; flooded, it is a blind answer."""
    return Prediction(key=prediction.key, status="ok", nll=prediction.nll)
