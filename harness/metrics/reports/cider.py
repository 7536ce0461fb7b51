"""CIDEr-D: how well a caption agrees with its references in the n-grams that are rare in the corpus of references."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, fsum, log, sqrt

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome, Pair
from harness.metrics.ratios import miss_if_answered, ratio
from harness.metrics.reports.bleu import ORDERS, ngrams
from harness.records import Prediction, Sample
from harness.text.ptb_tokenizer import caption_line
from harness.text.reply import answer_text

# pycocoevalcap, cider.py and cider_scorer.py: width in 2-grams of the damping by length, and the factor of the score.
_SIGMA = 6.0
_SCALE = 10.0

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Vector:
    """A text as the weights of its n-grams.

    Attributes:
        weights: N-gram -> weight, for each order from 1 to 4.
        norms: Euclidean norm of the weights of each order.
        bigrams: Number of 2-grams in the text.
    """

    weights: tuple[Mapping[Gram, float], ...]
    norms: tuple[float, ...]
    bigrams: int


@dataclass(frozen=True)
class _Corpus:
    """The statistics of a corpus, from its references.

    Attributes:
        samples: Number of samples with an answer.
        frequencies: N-gram -> number of samples whose references hold it.
    """

    samples: int
    frequencies: Mapping[Gram, int]

    @cached_property
    def rarities(self) -> Sequence[float]:
        """log(samples / frequency) by frequency; an n-gram that no reference has counts as seen once."""
        return [log(self.samples) - log(max(1, frequency)) for frequency in range(self.samples + 1)]

    def vector(self, text: str) -> _Vector:
        """Return a text's n-grams, each weighted by count times log(samples / samples with the n-gram)."""
        words = _words(text)
        rarities, seen = self.rarities, self.frequencies.get
        weights = tuple(
            {gram: count * rarities[seen(gram, 0)] for gram, count in Counter(ngrams(words, order)).items()}
            for order in ORDERS
        )
        norms = tuple(sqrt(fsum([weight * weight for weight in part.values()])) for part in weights)
        return _Vector(weights, norms, max(0, len(words) - 1))


def _words(text: str) -> list[str]:
    return caption_line(answer_text(text)).split()


def _corpus(references: Iterable[Sequence[str]]) -> _Corpus:
    """Count in how many samples each n-gram occurs; `references` holds one group of texts per sample."""
    frequencies: Counter[Gram] = Counter()
    samples = 0
    for texts in references:
        samples += 1
        frequencies.update({gram for text in texts for order in ORDERS for gram in ngrams(_words(text), order)})
    return _Corpus(samples, frequencies)


def _similarity(predicted: _Vector, reference: _Vector) -> float:
    """Return the mean over the orders of the clipped cosine, damped if the lengths differ."""
    total = 0.0
    for ours, theirs, our_norm, their_norm in zip(
        predicted.weights, reference.weights, predicted.norms, reference.norms, strict=True
    ):
        # Clipped: repeating a rare n-gram more often than the reference has it earns nothing (the D of CIDEr-D).
        shared = fsum([min(ours[gram], theirs[gram]) * theirs[gram] for gram in ours.keys() & theirs.keys()])
        total += shared / (our_norm * their_norm) if our_norm and their_norm else 0.0
    damping = exp(-((predicted.bigrams - reference.bigrams) ** 2) / (2 * _SIGMA**2))
    return total * damping / len(ORDERS)


def _scorer(corpus: _Corpus) -> Callable[[Sample, Prediction], Outcome]:
    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Return CIDEr-D: ten times the mean over orders 1-4 and over the answers of the clipped tf-idf cosine.

        In [0, 10], higher is better; the difference of the lengths (in 2-grams, as released) damps it with sigma 6.
        A side without words, and any reply in a corpus of one sample, where no n-gram is rare: 0.
        Source: Vedantam et al., arXiv:1411.5726; pycocoevalcap 1.2.
        """
        if not sample.target.answers:
            return Outcome("undefined")
        predicted = corpus.vector(prediction.text or "")
        similarities = [_similarity(predicted, corpus.vector(answer)) for answer in sample.target.answers]
        return Outcome("ok", (_SCALE * fsum(similarities) / len(similarities), 1.0))

    return score


def _prepare(pairs: Iterable[Pair]) -> Callable[[Sample, Prediction], Outcome]:
    """Count the n-grams of all references; a sample without an answer does not belong to the corpus."""
    return _scorer(_corpus(sample.target.answers for sample, _ in pairs if sample.target.answers))


def _alone(sample: Sample, prediction: Prediction) -> Outcome:
    """Score as a corpus of this one sample."""
    return _scorer(_corpus([sample.target.answers]))(sample, prediction)


def _ceiling(sample: Sample) -> float | None:
    """Return an upper bound: the score of the longest answer if it is the only one and each order has a rare n-gram.

    That is a quarter of 10 for each of its first four words. The value itself depends on the corpus, unknown here.
    """
    lengths = [len(_words(answer)) for answer in sample.target.answers]
    return _SCALE * min(max(lengths), len(ORDERS)) / len(ORDERS) if lengths else None


CIDER = Family(
    name="cider",
    values=("cider",),
    stats=("cider_sum", "samples"),
    line="text",
    suits=frozenset({"text"}),
    combine=ratio,
    worst=miss_if_answered,
    unit="points",
    range=(0.0, _SCALE),
    protocols=(
        Protocol(
            name="standard",
            version=2,
            score=_alone,
            ceiling=_ceiling,
            prepare=_prepare,
            caveat="rare n-grams are those of this task's references: values of other tasks or subsets do not compare",
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="CIDEr-D in 0..10 as pycocoevalcap computes it, reasoning cut, on Treebank tokens without "
            "punctuation.",
            formula="10 x mean over the answers and over 1- to 4-grams of the clipped tf-idf cosine, "
            "x exp(-(difference of lengths)^2 / 72).",
            empty=EmptyCases(
                prediction=0.0, target=0.0, both=0.0, note="In a corpus of one sample every reply is worth 0."
            ),
            source="Vedantam et al., arXiv:1411.5726; cider_scorer.py of pycocoevalcap 1.2, its name there CIDEr",
        ),
    ),
)

METRICS: tuple[Metric, ...] = CIDER.rows()
