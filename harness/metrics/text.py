"""Scores of short answers in words: exact accuracy and token precision, recall and F1."""

from collections import Counter
from collections.abc import Callable

import numpy as np

from harness.extract import medplib_normalise, standard_normalise, vqa_v2_normalise, words, yes_no
from harness.metrics.row import Floats, Metric, Outcome, Stats
from harness.records import Prediction, Sample

_YES_NO_ANSWERS = frozenset({"yes", "no", "是", "否"})
_MISS: Stats = (0.0, 1.0)


def _reply(prediction: Prediction) -> str:
    return prediction.text or ""


def _reference(sample: Sample) -> str:
    return sample.target.answers[0]


def _hit(right: bool, rule: str) -> Outcome:
    return Outcome("ok", (float(right), 1.0), {"rule": rule})


def _standard_accuracy(sample: Sample, prediction: Prediction) -> Outcome:
    """Compare as protocol `standard`: by yes or no where the reference is one, else by equal text."""
    if not sample.target.answers:
        return Outcome("undefined")
    accepted = {standard_normalise(answer) for answer in sample.target.answers}
    if standard_normalise(_reference(sample)) not in _YES_NO_ANSWERS:
        return _hit(standard_normalise(_reply(prediction)) in accepted, "equal_text")
    answer = yes_no(_reply(prediction))
    if answer is None:
        return Outcome("unparsed", _MISS, {"rule": "yes_no"})
    return _hit(answer in {yes_no(text) for text in accepted & _YES_NO_ANSWERS}, "yes_no")


def _equality(normalise: Callable[[str], str]) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that compares the normalised reply with the normalised first answer."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        return _hit(normalise(_reply(prediction)) == normalise(_reference(sample)), "equal_text")

    return score


def _accuracy_combine(sums: Floats) -> Floats:
    return _shares(sums[..., :1], sums[..., 1:], empty=np.nan)


def _accuracy_worst(sample: Sample) -> Stats:
    return _MISS if sample.target.answers else (0.0, 0.0)


def _accuracy_ceiling(sample: Sample) -> float | None:
    return 1.0 if sample.target.answers else None


def _shares(parts: Floats, wholes: Floats, *, empty: float) -> Floats:
    """Return parts / wholes, and `empty` where the whole is 0."""
    shares: Floats = np.divide(parts, wholes, out=np.full(np.shape(parts), empty), where=wholes > 0)
    return shares


def _standard_tokens(sample: Sample, prediction: Prediction) -> Outcome:
    """Count words in common, each as often as both sides have it."""
    if not sample.target.answers:
        return Outcome("undefined")
    predicted, target = Counter(words(_reply(prediction))), Counter(words(_reference(sample)))
    if not predicted and not target:
        return Outcome("undefined")
    return Outcome("ok", (float((predicted & target).total()), float(predicted.total()), float(target.total())))


def _standard_tokens_combine(sums: Floats) -> Floats:
    overlap, predicted, target = sums[..., 0], sums[..., 1], sums[..., 2]
    f1 = _shares(2 * overlap, predicted + target, empty=np.nan)
    shares = np.stack([f1, _shares(overlap, predicted, empty=0.0), _shares(overlap, target, empty=0.0)], axis=-1)
    return np.where(np.isnan(f1)[..., np.newaxis], np.nan, shares)


def _standard_tokens_worst(sample: Sample) -> Stats:
    """Return the stats of an empty reply."""
    return (0.0, 0.0, float(len(words(_reference(sample)))) if sample.target.answers else 0.0)


def _standard_tokens_ceiling(sample: Sample) -> float | None:
    return 1.0 if sample.target.answers and words(_reference(sample)) else None


def _medplib_words(text: str) -> Counter[str]:
    """Return the words as MedPLIB's open-ended metrics count them: its normaliser runs twice."""
    return Counter(medplib_normalise(medplib_normalise(text)).split())


def _medplib_tokens(sample: Sample, prediction: Prediction) -> Outcome:
    """Count as released: tp and fp in the reply's counts, fn in the reference's, nothing clipped."""
    if not sample.target.answers:
        return Outcome("undefined")
    predicted, target = _medplib_words(_reply(prediction)), _medplib_words(_reference(sample))
    tp = sum(count for word, count in predicted.items() if word in target)
    fn = sum(count for word, count in target.items() if word not in predicted)
    return Outcome("ok", (float(tp), float(predicted.total() - tp), float(fn)))


def _medplib_tokens_combine(sums: Floats) -> Floats:
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    precision, recall = _shares(tp, tp + fp, empty=0.0), _shares(tp, tp + fn, empty=0.0)
    f1 = _shares(2 * precision * recall, precision + recall, empty=0.0)
    return np.stack([f1, precision, recall], axis=-1)


def _medplib_tokens_worst(sample: Sample) -> Stats:
    """Return the stats of an empty reply."""
    return (0.0, 0.0, float(_medplib_words(_reference(sample)).total()) if sample.target.answers else 0.0)


def _medplib_tokens_ceiling(sample: Sample) -> float | None:
    """Return 1; 0 where no word of the reference survives, which the released code scores 0 whatever the reply."""
    if not sample.target.answers:
        return None
    return 1.0 if _medplib_words(_reference(sample)) else 0.0


def _accuracy(protocol: str, score: Callable[[Sample, Prediction], Outcome], summary: str) -> Metric:
    return Metric(
        name="vqa_accuracy",
        protocol=protocol,
        version=1,
        values=("vqa_accuracy",),
        stats=("hits", "samples"),
        line="text",
        suits=frozenset({"text"}),
        score=score,
        combine=_accuracy_combine,
        worst=_accuracy_worst,
        ceiling=_accuracy_ceiling,
        summary=summary,
    )


METRICS: tuple[Metric, ...] = (
    _accuracy(
        "standard",
        _standard_accuracy,
        "Share of right answers: yes or no read from the reply's words, other answers equal after normalising.",
    ),
    _accuracy(
        "vqa-v2",
        _equality(vqa_v2_normalise),
        "Share of replies equal to the first answer after the VQA v2 normaliser.",
    ),
    _accuracy(
        "medplib",
        _equality(medplib_normalise),
        "Share of replies equal to the first answer after MedPLIB's normaliser, as released.",
    ),
    Metric(
        name="token_prf",
        protocol="standard",
        version=1,
        values=("f1", "precision", "recall"),
        stats=("overlap", "predicted", "target"),
        line="text",
        suits=frozenset({"text"}),
        score=_standard_tokens,
        combine=_standard_tokens_combine,
        worst=_standard_tokens_worst,
        ceiling=_standard_tokens_ceiling,
        summary="Words in common with the first answer, each counted as often as both sides have it.",
    ),
    Metric(
        name="token_prf",
        protocol="medplib",
        version=1,
        values=("f1", "precision", "recall"),
        stats=("tp", "fp", "fn"),
        line="text",
        suits=frozenset({"text"}),
        score=_medplib_tokens,
        combine=_medplib_tokens_combine,
        worst=_medplib_tokens_worst,
        ceiling=_medplib_tokens_ceiling,
        summary="Words in common with the first answer as MedPLIB counts them: no clipping.",
    ),
)
