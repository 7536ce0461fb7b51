"""BLEU under our `standard` rules and those of released code. All accepted answers are references.

A sample's stats are counts, so the same rule gives the value of a sample, of a corpus and of each of its resamples.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.records import Prediction, Sample
from harness.text.characters import plain_characters
from harness.text.ptb_tokenizer import caption_line
from harness.text.reply import answer_text
from harness.text.tokenizers import Tokens, tokens_13a, tokens_13a_by_character, without_grounding_tags

ORDERS = (1, 2, 3, 4)
_STATS = (
    *(f"matches{order}" for order in ORDERS),
    *(f"total{order}" for order in ORDERS),
    "predicted_words",
    "reference_words",
    "samples",
)
_MATCHES, _TOTALS, _PREDICTED, _REFERENCE, _SAMPLES = slice(0, 4), slice(4, 8), 8, 9, 10
# Chen and Cherry, WMT 2014, method 1; the paper leaves the value open, 0.1 is nltk's.
_EPSILON = 0.1
_FORMULA = "min(1, exp(1 - reference words / reply words)) x geometric mean of the clipped precisions of 1- to n-grams"
# Added below and above each ratio so that none divides by 0: pycocoevalcap, bleu_scorer.py.
_SMALL, _TINY = 1e-9, 1e-15

Tokenizer = Callable[[str], Sequence[str]]
ReferenceLength = Callable[[int, Iterable[int]], int]


def ngrams(tokens: Sequence[str], order: int) -> Iterator[tuple[str, ...]]:
    """Yield the runs of `order` tokens, in order."""
    return zip(*(tokens[start:] for start in range(order)), strict=False)


def clipped_matches(predicted: Sequence[str], references: Sequence[Sequence[str]], order: int) -> int:
    """Return how many n-grams of `predicted` a reference has too, each at most as often as one reference has it.

    Args:
        predicted: Words of the reply.
        references: Words of each answer, at least one.
        order: Words per n-gram, 1 or more.
    Source: Papineni et al., ACL 2002; equal to the numerators of nltk's `modified_precision`.
    """
    counts = Counter(ngrams(predicted, order))
    allowed = Counter(ngrams(references[0], order))
    for reference in references[1:]:
        allowed |= Counter(ngrams(reference, order))
    return sum(min(counts[gram], allowed[gram]) for gram in counts.keys() & allowed.keys())


def closest_length(length: int, references: Iterable[int]) -> int:
    """Return the reference length in words nearest to `length`; of two equally near ones the shorter.

    Source: as in nltk's `closest_ref_length` and pycocoevalcap's option `closest`.
    """
    return min(references, key=lambda reference: (abs(reference - length), reference))


def _shortest_length(_length: int, references: Iterable[int]) -> int:
    """Return the length of the shortest reference, the rule of HF evaluate's `nmt_bleu.py`."""
    return min(references)


def _counts(predicted: Sequence[str], references: Sequence[Sequence[str]], reference_length: ReferenceLength) -> Stats:
    """Return the row's stats of one sample."""
    matches = [0, 0, 0, 0]
    for index, order in enumerate(ORDERS):
        matches[index] = clipped_matches(predicted, references, order)
        if not matches[index]:
            break  # A longer n-gram holds one of this length, so none of those matches either.
    totals = (max(0, len(predicted) - order + 1) for order in ORDERS)
    length = reference_length(len(predicted), map(len, references))
    return (*map(float, matches), *map(float, totals), float(len(predicted)), float(length), 1.0)


def _score(tokenize: Tokenizer, reference_length: ReferenceLength) -> Callable[[Sample, Prediction], Outcome]:
    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Count n-grams; a sample with a side without words is `ok` and scores 0."""
        if not sample.target.answers:
            return Outcome("undefined")
        references = [tokenize(answer) for answer in sample.target.answers]
        return Outcome("ok", _counts(tokenize(prediction.text or ""), references, reference_length))

    return score


def _smoothed_score(sample: Sample, prediction: Prediction) -> Outcome:
    """Count as `standard`, and say in the detail if the sample's own value rests on the epsilon."""
    outcome = _standard_score(sample, prediction)
    matches = outcome.stats[_MATCHES]
    if not matches or all(matches) or not matches[0]:
        return outcome
    return Outcome("ok", outcome.stats, {"smoothing": f"orders without a match count {_EPSILON:g} (this sample only)"})


def _worst(tokenize: Tokenizer, reference_length: ReferenceLength) -> Callable[[Sample], Stats]:
    def worst(sample: Sample) -> Stats:
        """Return the stats of an empty reply; the reference keeps its weight in the pooled length."""
        if not sample.target.answers:
            return (0.0,) * len(_STATS)
        return _counts((), [tokenize(answer) for answer in sample.target.answers], reference_length)

    return worst


def _cumulative(precisions: Floats, penalty: Floats) -> Floats:
    """Return the geometric means of the first 1, 2, 3 and 4 precisions, times the brevity penalty.

    Args:
        precisions: Shape (..., 4), by order.
        penalty: Shape (...).
    """
    # log 0 is minus infinity and exp brings it back to 0: one precision of 0 makes the mean 0.
    with np.errstate(divide="ignore"):
        logarithms = np.log(precisions)
    means: Floats = np.exp(np.cumsum(logarithms, axis=-1) / np.asarray(ORDERS))
    return means * penalty[..., np.newaxis]


def _brevity_penalty(stats: Floats) -> Floats:
    """Return min(1, exp(1 - reference words / predicted words)); 0 without predicted words."""
    predicted, reference = stats[..., _PREDICTED], stats[..., _REFERENCE]
    # The 1 stands in for a length of 0 so that numpy divides without a warning; its result is thrown away below.
    penalty: Floats = np.exp(np.minimum(0.0, 1 - reference / np.where(predicted > 0, predicted, 1)))
    return np.where(predicted > 0, penalty, 0.0)


def _where_scored(stats: Floats, values: Floats) -> Floats:
    """Return the values, undefined (NaN) where no sample was scored."""
    return np.where(stats[..., _SAMPLES, np.newaxis] > 0, values, np.nan)


def _unsmoothed(stats: Floats) -> Floats:
    """BLEU-1 to BLEU-4: brevity penalty times the geometric mean of the clipped precisions, 0 where one is 0.

    Args:
        stats: Counts, shape (..., 11), of a sample or summed.
    Returns:
        Shape (..., 4), each in [0, 1]. A text of fewer words than an order has precision 0 in that order.
    Source: Papineni et al., ACL 2002.
    """
    totals = stats[..., _TOTALS]
    precisions = np.where(totals > 0, stats[..., _MATCHES] / np.where(totals > 0, totals, 1), 0.0)
    return _where_scored(stats, _cumulative(precisions, _brevity_penalty(stats)))


def _smoothed(stats: Floats) -> Floats:
    """BLEU as `_unsmoothed`, with 0.1 matches for an order that has none; 0 if not even a single word matches.

    Source: Chen and Cherry, WMT 2014, smoothing 1, as in nltk's sentence_bleu.
    """
    matches, totals = stats[..., _MATCHES], np.maximum(stats[..., _TOTALS], 1)
    precisions = np.where(matches > 0, matches, _EPSILON) / totals
    values = _cumulative(precisions, _brevity_penalty(stats))
    return _where_scored(stats, np.where(matches[..., :1] > 0, values, 0.0))


def _coco(stats: Floats) -> Floats:
    """BLEU-1 to BLEU-4 of the COCO caption code: 1e-15 and 1e-9 above and below every ratio, that of lengths too."""
    precisions = (stats[..., _MATCHES] + _TINY) / (stats[..., _TOTALS] + _SMALL)
    ratio = (stats[..., _PREDICTED] + _TINY) / (stats[..., _REFERENCE] + _SMALL)
    return _where_scored(stats, _cumulative(precisions, np.exp(np.minimum(0.0, 1 - 1 / ratio))))


def _bleu4_first(rule: Callable[[Floats], Floats]) -> Callable[[Floats], Floats]:
    """Return the rule with BLEU-4 in front: the first value of a row is its headline."""
    return lambda stats: rule(stats)[..., [3, 0, 1, 2]]


def _ceiling(tokenize: Tokenizer, values: Callable[[Floats], Floats]) -> Callable[[Sample], float | None]:
    def ceiling(sample: Sample) -> float | None:
        """Return the best value that one of the answers reaches as a reply: below 1 for answers under four words."""
        references = [tokenize(answer) for answer in sample.target.answers]
        # An answer that is repeated has its own length among the references, whichever rule picks among them.
        stats = [_counts(reference, references, closest_length) for reference in references]
        return max((float(values(np.asarray(reached))[0]) for reached in stats), default=None)

    return ceiling


def _caption_words(text: str) -> Tokens:
    return tuple(caption_line(without_grounding_tags(text)).split())


def standard_tokens(text: str) -> Tokens:
    """Return the tokens of protocol `standard`: of a reply's words without its reasoning, in plain characters."""
    # Answers go the same way, so that repeating one is worth its ceiling.
    return tokens_13a_by_character(plain_characters(answer_text(text)))


_standard_score = _score(standard_tokens, closest_length)


BLEU = Family(
    name="bleu",
    values=("bleu4", "bleu1", "bleu2", "bleu3"),
    stats=_STATS,
    line="text",
    suits=frozenset({"text", "grounded_text"}),
    corpus=True,
    empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
    protocols=(
        Protocol(
            name="standard",
            version=2,
            score=_smoothed_score,
            combine=_bleu4_first(_unsmoothed),
            each=_bleu4_first(_smoothed),
            worst=_worst(standard_tokens, closest_length),
            ceiling=_ceiling(standard_tokens, _bleu4_first(_smoothed)),
            certificate="Frequent words match without any look at the image, and leaving out a poor reply can raise "
            "the precision of all.",
            summary="Corpus BLEU-4 of 13a tokens reasoning cut, CJK by character, no smoothing; single samples "
            "count 0.1 for no match.",
            formula=f"{_FORMULA}, from summed counts; reference words: of the answer closest in length.",
            source="Papineni et al., ACL 2002; single samples: Chen and Cherry, WMT 2014, smoothing 1",
        ),
        Protocol(
            name="m3d",
            version=1,
            values=("bleu1", "bleu2", "bleu3", "bleu4"),
            score=_score(tokens_13a, _shortest_length),
            combine=_unsmoothed,
            worst=_worst(tokens_13a, _shortest_length),
            ceiling=_ceiling(tokens_13a, _unsmoothed),
            corpus=False,
            certificate="Frequent words match without any look at the image, and leaving out a poor reply can raise "
            "the precision of all.",
            summary="Mean BLEU-1 of single samples, 13a tokens, no smoothing, as M3D's scripts compute it with HF "
            "evaluate.",
            formula=f"{_FORMULA}; reference words: of the shortest answer.",
            empty=EmptyCases(
                prediction=0.0, target=0.0, both=0.0, note="The released code raises where a side is empty."
            ),
            source="Bench/eval of M3D, arXiv:2404.00578; bleu of HF evaluate with max_order 1",
        ),
        Protocol(
            name="mimo",
            version=1,
            score=_score(_caption_words, closest_length),
            combine=_bleu4_first(_coco),
            worst=_worst(_caption_words, closest_length),
            ceiling=_ceiling(_caption_words, _bleu4_first(_coco)),
            certificate="Frequent words match without any look at the image, and leaving out a poor reply can raise "
            "the precision of all.",
            summary="Corpus BLEU-4 of the COCO caption code on Treebank tokens without punctuation and grounding tags.",
            formula=f"{_FORMULA}, with 1e-15 added above and 1e-9 below every ratio; from summed counts.",
            empty=EmptyCases(prediction=0.0, target=0.0, both=0.0, note="0 is not quite reached: below 1e-6."),
            source="bleu_scorer.py of pycocoevalcap 1.2; MIMO names no tool, COCO's is assumed",
        ),
    ),
)

METRICS: tuple[Metric, ...] = BLEU.rows()
