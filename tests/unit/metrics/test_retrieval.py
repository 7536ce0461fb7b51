"""Retrieval: ranks under ties, pools and captions of a run, and what a failed query weighs."""

from dataclasses import replace

import numpy as np
import pytest

from harness.errors import DataError
from harness.metrics import retrieval
from harness.metrics.metric import Metric, bind, sample_values
from harness.metrics.retrieval import METRICS, fair_credits, matrix_outcome, matrix_ranks
from harness.records import Prediction, Sample, Target

ROWS = {row.protocol: row for row in METRICS}
BOTH = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.protocol)
MISS = (0.0, 0.0, 0.0, 0.0, 1.0)
Pair = tuple[Sample, Prediction]


def pair(
    name: str, image: tuple[float, ...] | None, text: tuple[float, ...] = (), *, pool: str = "a", caption: str = ""
) -> Pair:
    sample = Sample(id=name, strata={"pool": pool}, target=Target(caption_id=caption or name))
    return sample, Prediction(key=name, status="ok", embedding=() if image is None else (image, text))


def values(row: Metric, similarity: list[list[float]]) -> tuple[float | None, ...]:
    return sample_values(row, matrix_outcome(row, similarity, "line 1").stats)


def run(row: Metric, pairs: list[Pair], query: str = "image") -> list[tuple[float | None, ...]]:
    bound = bind(row, {"query": query}, "t")
    assert bound.prepare is not None
    score = bound.prepare(pairs)
    return [sample_values(row, score(*one).stats) for one in pairs]


def test_a_target_shares_its_place_with_what_ties() -> None:
    similarity = [[1.0, 1.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    assert fair_credits(matrix_ranks(np.asarray(similarity)))[0].tolist() == [0.0, 1.0, 1.0, (1 / 2 + 1 / 3) / 2]
    assert values(ROWS["m3d"], similarity)[3] == (1 / 2 + 3) / 4


def test_a_model_that_finds_everything_alike_has_the_recall_of_chance() -> None:
    assert values(ROWS["standard"], [[0.5] * 8] * 8) == pytest.approx((1 / 8, 5 / 8, 1.0, sum(1 / np.arange(1, 9)) / 8))
    assert values(ROWS["m3d"], [[0.5] * 8] * 8)[:3] == (1 / 8, 5 / 8, 1.0)


@BOTH
def test_a_cutoff_above_the_pool_finds_every_target(row: Metric) -> None:
    assert values(row, [[0.0, 1.0], [1.0, 0.0]]) == (0.0, 1.0, 1.0, 0.5)


def test_a_similarity_that_is_not_a_number_ranks_first_as_released_and_earns_nothing_in_standard() -> None:
    matrix = [[float("nan"), 1.0], [float("nan"), 1.0]]
    assert values(ROWS["m3d"], matrix) == (1.0, 1.0, 1.0, 1.0)
    assert values(ROWS["standard"], matrix) == (0.5, 0.5, 0.5, 0.5)


@BOTH
def test_a_gallery_may_hold_more_than_the_targets(row: Metric) -> None:
    outcome = matrix_outcome(row, [[0.5, 0.1, 0.9]], "line 1")
    assert (outcome.stats, outcome.detail) == ((0.0, 1.0, 1.0, 0.5, 1.0), {"queries": 1, "gallery": 3})


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [
        ([[1.0, 0.0], [1.0]], r"expected rows of one length, found \[1, 2\]$"),
        ([[1.0], [1.0]], r"row i asks for column i, so expected at least 2 columns, found 1$"),
        ([[float("inf")]], r"expected finite numbers, or null where there is none, found an infinite$"),
    ],
)
def test_a_matrix_that_is_none_is_refused(similarity: list[list[float]], expected: str) -> None:
    with pytest.raises(DataError, match=r"^line 3: similarity: " + expected):
        matrix_outcome(ROWS["m3d"], similarity, "line 3")


@BOTH
def test_image_queries_rank_texts_and_text_queries_rank_images(row: Metric) -> None:
    pairs = [pair("1", (1.0, 0.0), (3.0, 0.0)), pair("2", (0.6, 0.8), (2.0, 0.1))]
    assert [found[0] for found in run(row, pairs)] == [1.0, 1.0]
    assert [found[0] for found in run(row, pairs, "text")] == [1.0, 0.0]


@BOTH
def test_pools_are_ranked_on_their_own(row: Metric) -> None:
    east, north = (1.0, 0.0), (0.0, 1.0)
    wrong = [pair("1", east, north), pair("2", north, east)]
    assert [found[0] for found in run(row, wrong)] == [0.0, 0.0]
    apart = [pair("1", east, north, pool="a"), pair("2", north, east, pool="b")]
    assert [found[0] for found in run(row, apart)] == [1.0, 1.0]


def test_what_has_the_same_caption_is_no_rival_in_standard_and_gets_no_credit_as_released() -> None:
    east, north = (1.0, 0.0), (0.0, 1.0)
    pairs = [pair("1", north, north), pair("2", east, east, caption="c"), pair("3", east, east, caption="c")]
    assert [found[0] for found in run(ROWS["standard"], pairs)] == [1.0, 1.0, 1.0]
    assert [found[0] for found in run(ROWS["m3d"], pairs)] == [1.0, 1.0, 0.0]


def test_vectors_of_one_direction_tie_whatever_their_length() -> None:
    direction = np.random.default_rng(1).normal(size=33)
    pairs = [pair(str(place), tuple(direction), tuple(direction * (place + 1) * 0.37)) for place in range(7)]
    assert run(ROWS["standard"], pairs)[0][:2] == pytest.approx((1 / 7, 5 / 7))


@BOTH
def test_a_failed_sample_is_worst_as_a_query_and_no_rival_to_the_others(row: Metric) -> None:
    pairs = [pair("1", (1.0, 0.0), (1.0, 0.0)), pair("2", None), pair("3", (0.0, 1.0), (0.0, 1.0))]
    bound = bind(row, {}, "t")
    assert bound.prepare is not None
    score = bound.prepare(pairs)
    outcome = score(*pairs[1])
    assert (outcome.status, outcome.stats) == ("unparsed", MISS)
    assert score(*pairs[0]).stats == score(*pairs[2]).stats == (1.0, 1.0, 1.0, 1.0, 1.0)
    assert (row.worst(pairs[1][0]), row.floor(pairs[1][0]), row.ceiling(pairs[1][0])) == (MISS, 0.0, 1.0)


@BOTH
def test_a_pool_in_which_all_failed_has_no_ranks(row: Metric) -> None:
    assert run(row, [pair("1", None), pair("2", None)]) == [(0.0, 0.0, 0.0, 0.0)] * 2


@BOTH
def test_repeats_of_a_sample_do_not_compete_with_each_other(row: Metric) -> None:
    first = [pair("1", (1.0, 0.0), (1.0, 0.0)), pair("2", (0.0, 1.0), (0.0, 1.0))]
    again = [(sample, replace(prediction, key=f"{prediction.key}-again")) for sample, prediction in first]
    assert run(row, [*first, *again]) == [(1.0, 1.0, 1.0, 1.0)] * 4


@BOTH
def test_many_queries_are_ranked_in_blocks_like_few(row: Metric) -> None:
    generator = np.random.default_rng(2)
    vectors = generator.normal(size=(2, 600, 5))
    pairs = [pair(str(place), tuple(vectors[0, place]), tuple(vectors[1, place])) for place in range(600)]
    unit = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    expected = matrix_outcome(row, np.round(unit[0] @ unit[1].T, 12).tolist(), "x").stats
    found = run(row, pairs)
    assert np.asarray(found, dtype=np.float64).sum(axis=0).tolist() == pytest.approx(expected[:4])


@BOTH
def test_a_sample_alone_is_its_own_pool(row: Metric) -> None:
    assert row.score(*pair("1", (1.0, 0.0), (0.0, 1.0))).stats == (1.0, 1.0, 1.0, 1.0, 1.0)


@BOTH
def test_a_vector_without_direction_is_similar_to_nothing(row: Metric) -> None:
    pairs = [pair("1", (0.0, 0.0), (1.0, 0.0)), pair("2", (1.0, 0.0), (1.0, 0.0))]
    assert run(row, pairs)[0][3] == (0.75 if row.protocol == "standard" else 1.0)


@BOTH
def test_an_embedding_that_does_not_fit_is_like_none(row: Metric) -> None:
    good = [pair("1", (1.0, 0.0), (1.0, 0.0)), pair("2", (0.0, 1.0), (0.0, 1.0))]
    for odd in (pair("3", (1.0, 0.0), (1.0,)), pair("3", (1.0,), (1.0,))):
        assert [found[0] for found in run(row, [odd, *good])] == [0.0, 1.0, 1.0]


def volume(name: str, views: list[tuple[float, ...]], text: tuple[float, ...]) -> Pair:
    sample, prediction = pair(name, views[0], text)
    return sample, replace(prediction, embedding=(*views, text))


@BOTH
@pytest.mark.parametrize("query", ["image", "text"])
def test_a_volume_is_as_near_as_its_nearest_slice(row: Metric, query: str) -> None:
    random = np.random.default_rng(3)
    counts = [3, 1, 4, 2, 3]
    views = [random.normal(size=(count, 6)) for count in counts]
    texts = random.normal(size=(len(counts), 6))
    unit = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in (*views, texts)]
    best = np.stack([(one @ unit[-1].T).max(axis=0) for one in unit[:-1]])
    pairs = [volume(str(place), view.tolist(), texts[place].tolist()) for place, view in enumerate(views)]
    expected = matrix_ranks(best if query == "image" else best.T)
    assert [1 / found[3] for found in run(row, pairs, query)] == pytest.approx((1 + expected.better).tolist())


def test_slices_in_blocks_are_ranked_like_few(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(5)
    pairs = [
        volume(str(place), random.normal(size=(place % 3 + 1, 4)).tolist(), random.normal(size=4).tolist())
        for place in range(20)
    ]
    whole = [run(ROWS["standard"], pairs, query) for query in ("image", "text")]
    monkeypatch.setattr(retrieval, "_BLOCK", 3)
    assert [run(ROWS["standard"], pairs, query) for query in ("image", "text")] == whole
