"""Retrieval between images and texts: recall at 1, 5 and 10 and mean reciprocal rank, of a run or of a matrix.

A query's rank follows from two counts: how many of the gallery are `better` (more similar to it than its own target)
and how many are `tied` with the target, the target itself included. A similarity that is NaN compares as neither more,
less nor equal, as in IEEE arithmetic.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Pair, Parameter, Stats
from harness.metrics.ratios import ratio
from harness.records import Prediction, Sample

CUTOFFS = (1, 5, 10)
_VALUES = ("R@1", "R@5", "R@10", "MRR")
_STATS = ("hits_at_1", "hits_at_5", "hits_at_10", "reciprocal_rank", "queries")
_MISS: Stats = (0.0, 0.0, 0.0, 0.0, 1.0)
# Cosines are compared at twelve decimals: equal vectors tie, in whatever order a machine adds up their products.
_DECIMALS = 12
# Queries whose similarities to a whole pool are held at once: 40 MB for a pool of 10,000.
_BLOCK = 512

# Stratum whose values are the pools that are ranked on their own; without it all samples are one pool.
POOL = "pool"

Ints = NDArray[np.int64]


class Ranks(NamedTuple):
    """The gallery in relation to each query's own target; arrays of shape (queries,), int64.

    Attributes:
        better: How many are more similar to the query.
        tied: How many are as similar, the target included; 0 where the target's similarity is NaN.
        first: How many of those tied come before the target.
    """

    better: Ints
    tied: Ints
    first: Ints


def fair_credits(ranks: Ranks) -> Floats:
    """Return each query's points under protocol `standard`, float64 (queries, 4): at 1, 5, 10, and reciprocal rank.

    Ties count fairly: the expected hit clip((k - better) / tied, 0, 1) and the expected reciprocal rank, the mean of
    1 / r over the ranks r = better + 1 .. better + tied, as if the tied were put in random order. Range [0, 1]; a
    target whose similarity is NaN earns nothing. Source: ours.
    """
    # At least 1, so that a target without a similarity divides by no 0; its row is set to 0 in the last line.
    tied = np.maximum(ranks.tied, 1)
    hits = [np.clip((k - ranks.better) / tied, 0.0, 1.0) for k in CUTOFFS]
    # Sums of 1 / r up to each rank: the mean over a run of ranks is a difference of two of them.
    harmonic = np.concatenate(([0.0], np.cumsum(1.0 / np.arange(1, (ranks.better + tied).max(initial=0) + 1))))
    reciprocal = (harmonic[ranks.better + tied] - harmonic[ranks.better]) / tied
    return np.where(ranks.tied[:, np.newaxis] > 0, np.stack([*hits, reciprocal], axis=-1), 0.0)


def first_credits(ranks: Ranks) -> Floats:
    """Return each query's points under protocol `m3d`, float64 (queries, 4): at 1, 5, 10, and reciprocal rank.

    Of the tied the lowest index comes first. A NaN is never better and nothing is better than it, so a target whose
    similarity is NaN ranks first, as in the released comparison.
    Source: M3D, eval_itr.py; the order of ties, which torch leaves open, is fixed here.
    """
    rank = 1 + ranks.better + ranks.first
    return np.stack([*(np.where(rank <= k, 1.0, 0.0) for k in CUTOFFS), 1.0 / rank], axis=-1)


_CREDITS: dict[str, Callable[[Ranks], Floats]] = {"standard": fair_credits, "m3d": first_credits}


def matrix_ranks(similarity: Floats, own: Ints | None = None, rivals: NDArray[np.bool_] | None = None) -> Ranks:
    """Return the counts behind the rank of each query's target.

    Args:
        similarity: Shape (queries, gallery), float64; higher is nearer.
        own: Column of each query's target, shape (queries,), int64; by default the query's own index.
        rivals: Boolean (queries, gallery), which of the gallery compete; by default all. The target always does.
    """
    columns = np.arange(len(similarity)) if own is None else own
    target = similarity[np.arange(len(similarity)), columns][:, np.newaxis]
    better, equal = similarity > target, similarity == target
    if rivals is not None:
        itself = np.arange(similarity.shape[1]) == columns[:, np.newaxis]
        better, equal = better & rivals, equal & (rivals | itself)
    before = np.arange(similarity.shape[1]) < columns[:, np.newaxis]
    return Ranks(better.sum(axis=1), equal.sum(axis=1), (equal & before).sum(axis=1))


def matrix_outcome(metric: Metric, similarity: Sequence[Sequence[float]], where: str) -> Outcome:
    """Return the summed stats of all queries of one matrix, whose rows are queries; row i asks for column i.

    A cutoff above the size of the gallery finds every target. Transpose the matrix to ask in the other direction.

    Args:
        metric: A row of this module.
        similarity: At least as many columns as rows; NaN where no similarity exists.
        where: Begins the messages.
    Raises:
        DataError: Rows differ in length, there are fewer columns than rows, or a number is infinite.
    """
    widths = {len(row) for row in similarity}
    if len(widths) != 1:
        raise DataError(f"{where}: similarity: expected rows of one length, found {sorted(widths)}")
    matrix = np.asarray(similarity, dtype=np.float64)
    queries, gallery = matrix.shape
    if gallery < queries:
        raise DataError(
            f"{where}: similarity: row i asks for column i, so expected at least {queries} columns, found {gallery}"
        )
    if np.isinf(matrix).any():
        raise DataError(f"{where}: similarity: expected finite numbers, or null where there is none, found an infinite")
    credit = _CREDITS[metric.protocol](matrix_ranks(matrix))
    return Outcome("ok", (*credit.sum(axis=0).tolist(), float(queries)), {"queries": queries, "gallery": gallery})


def volume_scores(slice_scores: Floats) -> Floats:
    """Return the similarity of a 2-D model's volumes to texts, float64 (images, texts): the best over the slices.

    Args:
        slice_scores: Shape (images, slices, texts), at least one slice.
    Source: M3D, arXiv:2404.00578, section 6.2.
    """
    best: Floats = np.asarray(slice_scores, dtype=np.float64).max(axis=1)
    return best


@dataclass(slots=True)
class _Pool:
    """The samples that are ranked against each other.

    Attributes:
        keys: (sample id, prediction key) of each.
        vectors: Its image vectors, shape (views, length), one per slice of a volume or one in all, and its text vector,
            shape (length,); None if the model gave none.
        captions: Its caption id; None if the release has none.
    """

    keys: list[tuple[str, str]] = field(default_factory=list)
    vectors: list[tuple[Floats, Floats] | None] = field(default_factory=list)
    captions: list[str | None] = field(default_factory=list)


def _vectors(prediction: Prediction) -> tuple[Floats, Floats] | None:
    """Return the image vectors, shape (views, length), and the text vector, each of norm 1; None if they do not fit."""
    if len(prediction.embedding) < 2 or len({len(vector) for vector in prediction.embedding}) != 1:
        return None
    vectors = np.asarray(prediction.embedding, dtype=np.float64)
    norms = np.asarray([[np.linalg.norm(vector)] for vector in vectors])
    # A vector without direction stays 0 and is similar to nothing.
    vectors = vectors / np.where(norms > 0, norms, 1.0)
    return vectors[:-1], vectors[-1]


def _pools(pairs: Iterable[Pair]) -> list[_Pool]:
    """Return the pools, each in the order of `pairs`."""
    pools: dict[tuple[str, int], _Pool] = {}
    seen: dict[str, int] = {}
    for sample, prediction in pairs:
        # A sample that occurs several times must not be its own rival: its n-th answer goes to the n-th copy of a pool.
        repeat = seen.get(sample.id, 0)
        seen[sample.id] = repeat + 1
        pool = pools.setdefault((sample.strata.get(POOL, ""), repeat), _Pool())
        pool.keys.append((sample.id, prediction.key))
        pool.vectors.append(_vectors(prediction))
        pool.captions.append(sample.target.caption_id)
    return list(pools.values())


def _pool_stats(pool: _Pool, query: str, protocol: str) -> dict[tuple[str, str], Stats]:
    """Return the stats of every query of a pool whose vectors are as long as most are."""
    lengths = Counter(len(vectors[1]) for vectors in pool.vectors if vectors is not None)
    if not lengths:
        return {}
    usual = lengths.most_common(1)[0][0]
    found = [
        (place, vectors)
        for place, vectors in enumerate(pool.vectors)
        if vectors is not None and len(vectors[1]) == usual
    ]
    images = _Candidates.of([views for _, (views, _) in found])
    texts = _Candidates.of([text[np.newaxis] for _, (_, text) in found])
    queries, gallery = (images, texts) if query == "image" else (texts, images)
    captions = None
    if protocol == "standard":  # `m3d` knows no captions: a text that occurs twice is right only once
        # A number per sample, equal for samples that share a caption; a sample without one shares it with none.
        known: dict[Any, int] = {}
        names = (("none", place) if pool.captions[place] is None else pool.captions[place] for place, _ in found)
        captions = np.asarray([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
    credit = _credits(queries, gallery, captions, _CREDITS[protocol])
    return {pool.keys[place]: (*row, 1.0) for (place, _), row in zip(found, credit.tolist(), strict=True)}


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Images or texts with one or several vectors each.

    Attributes:
        vectors: Shape (all vectors, length), float64; those of one candidate together.
        starts: Row at which the vectors of each candidate begin, shape (candidates,).
    """

    vectors: Floats
    starts: Ints

    @classmethod
    def of(cls, views: Sequence[Floats]) -> "_Candidates":
        counts = np.array([len(vectors) for vectors in views], dtype=np.int64)
        return cls(np.concatenate(views), np.cumsum(counts) - counts)

    def __len__(self) -> int:
        return len(self.starts)

    def part(self, rows: Ints) -> "_Candidates":
        """Return the candidates of a range of consecutive indices."""
        ends = np.append(self.starts, len(self.vectors))
        first = ends[rows[0]]
        return _Candidates(self.vectors[first : ends[rows[-1] + 1]], self.starts[rows] - first)

    def similarity(self, other: "_Candidates") -> Floats:
        """Return cosines, shape (own, other): the best of any two vectors if there are several, as `volume_scores`."""
        similarity = self.vectors @ other.vectors.T
        if len(self) < len(self.vectors):
            similarity = np.maximum.reduceat(similarity, self.starts, axis=0)
        return similarity if len(other) == len(other.vectors) else np.maximum.reduceat(similarity, other.starts, axis=1)


def _credits(
    queries: _Candidates, gallery: _Candidates, captions: Ints | None, credit: Callable[[Ranks], Floats]
) -> Floats:
    """Return the points of all queries, shape (queries, 4).

    A candidate that shares a query's caption is as right as its target and never a rival.
    """
    parts = []
    for start in range(0, len(queries), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(queries)))
        rivals = None if captions is None else captions[rows][:, np.newaxis] != captions
        similarity = np.round(queries.part(rows).similarity(gallery), _DECIMALS)
        parts.append(credit(matrix_ranks(similarity, rows, rivals)))
    return np.concatenate(parts)


def _prepare(protocol: str) -> Callable[..., Callable[[Sample, Prediction], Outcome]]:
    def prepare(pairs: Iterable[Pair], query: str = "image") -> Callable[[Sample, Prediction], Outcome]:
        """Rank every pool once and return a score that looks its sample up.

        A sample without an embedding, or with one of another length than most of its pool, scores the worst value as a
        query. Nothing can be ranked above or below a missing vector, so it is no rival to the others, which all stay
        in the mean.
        """
        table: dict[tuple[str, str], Stats] = {}
        for pool in _pools(pairs):
            table.update(_pool_stats(pool, query, protocol))

        def score(sample: Sample, prediction: Prediction) -> Outcome:
            stats = table.get((sample.id, prediction.key))
            return Outcome("unparsed", _MISS, {"rule": "no_embedding"}) if stats is None else Outcome("ok", stats)

        return score

    return prepare


def _alone(protocol: str) -> Callable[..., Outcome]:
    def score(sample: Sample, prediction: Prediction, query: str = "image") -> Outcome:
        """Score a sample as a pool of its own."""
        return _prepare(protocol)([(sample, prediction)], query=query)(sample, prediction)

    return score


def _worst(_sample: Sample) -> Stats:
    return _MISS


def _ceiling(_sample: Sample) -> float | None:
    return 1.0


RETRIEVAL = Family(
    name="retrieval",
    values=_VALUES,
    stats=_STATS,
    line="retrieval",
    suits=frozenset({"retrieval"}),
    combine=ratio,
    worst=_worst,
    ceiling=_ceiling,
    rivals=True,
    parameters=(
        Parameter(
            name="query",
            default="image",
            choices=("image", "text"),
            summary="What asks for the other: an image for its text, or a text for its image.",
        ),
    ),
    protocols=(
        Protocol(
            name="standard",
            version=1,
            score=_alone("standard"),
            prepare=_prepare("standard"),
            certificate="The answers are each other's rivals: leaving one out takes a rival from all the others.",
            summary="Share of queries whose target is among the 1, 5 or 10 nearest, and mean reciprocal rank; ties "
            "count fairly.",
            formula="R@k: clip((k - better) / tied, 0, 1), tied with the target itself; MRR: mean of 1 / rank over "
            "the ranks better + 1 to better + tied. What shares the target's caption is no rival.",
            empty=EmptyCases(
                prediction="unparsed",
                note="Empty: no embedding. In a matrix a target whose similarity is no number earns nothing.",
            ),
            source="ours",
        ),
        Protocol(
            name="m3d",
            version=1,
            score=_alone("m3d"),
            prepare=_prepare("m3d"),
            certificate="The answers are each other's rivals: leaving one out takes a rival from all the others.",
            summary="As released with M3D: of ties the lowest index comes first, and a text that occurs twice is right "
            "only once.",
            formula="R@k: 1 if rank is at most k; MRR: 1 / rank; rank = 1 + better + those tied before it.",
            empty=EmptyCases(
                prediction="unparsed",
                note="Empty: no embedding. In a matrix a target whose similarity is no number ranks first.",
            ),
            source="Bench/eval/eval_itr.py of M3D, arXiv:2404.00578; the order of ties is fixed here",
        ),
    ),
)

METRICS: tuple[Metric, ...] = RETRIEVAL.rows()
