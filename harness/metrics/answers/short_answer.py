"""Scores of short answers in words: exact accuracy and token precision, recall and F1."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.metrics.ratios import MISS, f1_precision_recall, miss_if_answered, ratio, shares
from harness.records import Prediction, Sample
from harness.text.normalisers import medplib_normalise, standard_normalise, vqa_v2_normalise, words
from harness.text.reply import short_answer
from harness.text.yes_no import POLARITY, yes_no


def _reply(prediction: Prediction) -> str:
    return prediction.text or ""


def _reference(sample: Sample) -> str:
    return sample.target.answers[0]


def _hit(right: bool, rule: str) -> Outcome:
    return Outcome("ok", (float(right), 1.0), {"rule": rule})


# Cached, because releases repeat their short answers, and models their replies to closed questions.
@lru_cache(maxsize=1 << 12)
def _accepted(answer: str) -> str:
    """Return an answer in the form in which a reply is compared with it."""
    return standard_normalise(short_answer(answer) or answer)


@lru_cache(maxsize=1 << 12)
def _stated(reply: str) -> str | None:
    """Return the answer that a reply states, in the form in which it is compared; None if it states none."""
    answer = short_answer(reply)
    return None if answer is None else standard_normalise(answer)


_polarity = lru_cache(maxsize=1 << 12)(yes_no)


def _standard_accuracy(sample: Sample, prediction: Prediction) -> Outcome:
    """Compare by yes or no if the first answer is one of them, else by equal text after normalising.

    The score is 0 or 1. A reply that states neither yes nor no, or both, is `unparsed`, an empty one included, and so
    is any reply that ends while it reasons or states several answers; without an answer to compare with the score is
    undefined.
    """
    if not sample.target.answers:
        return Outcome("undefined")
    # SLAKE asks in English and in Chinese, so 是 is met by yes.
    accepted = set(map(_accepted, sample.target.answers))
    if _accepted(_reference(sample)) not in POLARITY:
        reply = _stated(_reply(prediction))
        if reply is None:
            return Outcome("unparsed", MISS, {"rule": "no_answer"})
        return _hit(reply in accepted, "equal_text")
    answer = _polarity(_reply(prediction))
    if answer is None:
        return Outcome("unparsed", MISS, {"rule": "yes_no"})
    return _hit(answer in {POLARITY[text] for text in accepted if text in POLARITY}, "yes_no")


def _equality(normalise: Callable[[str], str]) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that compares the normalised reply with the normalised first answer."""

    normalised = lru_cache(maxsize=1 << 12)(normalise)

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        return _hit(normalised(_reply(prediction)) == normalised(_reference(sample)), "equal_text")

    return score


@lru_cache(maxsize=1 << 12)
def _words(text: str) -> tuple[str, ...]:
    """Return the words that `token_prf` compares, of a reply and of an answer alike, so that each is worth itself."""
    return tuple(words(short_answer(text) or ""))


def _standard_tokens(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (words in common, words of the reply, words of the first answer), repeated words counted.

    A word is in common as often as both sides have it. No word on either side is undefined. A reply that ends while it
    reasons, or states several answers, has no words.
    """
    if not sample.target.answers:
        return Outcome("undefined")
    predicted, target = Counter(_words(_reply(prediction))), Counter(_words(_reference(sample)))
    if not predicted and not target:
        return Outcome("undefined")
    return Outcome("ok", (float((predicted & target).total()), float(predicted.total()), float(target.total())))


def _medplib_words(text: str) -> Counter[str]:
    """Return the words and how often each occurs, as MedPLIB's open-ended metrics count them."""
    # As released, a text goes through the normaliser twice, and the second pass can change it again.
    return Counter(medplib_normalise(medplib_normalise(text)).split())


def _medplib_tokens(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (tp, fp, fn) as released: tp and fp in the reply's counts, fn in the reference's.

    Nothing is clipped: a word that the reply repeats counts each time, though the reference has it once.
    """
    if not sample.target.answers:
        return Outcome("undefined")
    predicted, target = _medplib_words(_reply(prediction)), _medplib_words(_reference(sample))
    tp = sum(count for word, count in predicted.items() if word in target)
    fn = sum(count for word, count in target.items() if word not in predicted)
    return Outcome("ok", (float(tp), float(predicted.total() - tp), float(fn)))


def _medplib_tokens_combine(sums: Floats) -> Floats:
    """Return F1, precision and recall, shape (..., 3) -> (..., 3) float64; a share of nothing is 0.

    `f1_precision_recall` does not fit here: tp is counted in the reply and fn in the reference, so F1 is not
    2 tp / (2 tp + fp + fn).
    """
    tp, fp, fn = sums[..., 0], sums[..., 1], sums[..., 2]
    precision, recall = shares(tp, tp + fp, 0.0), shares(tp, tp + fn, 0.0)
    f1 = shares(2 * precision * recall, precision + recall, 0.0)
    return np.stack([f1, precision, recall], axis=-1)


def _medplib_tokens_worst(sample: Sample) -> Stats:
    """Return the stats of an empty reply."""
    return (0.0, 0.0, float(_medplib_words(_reference(sample)).total()) if sample.target.answers else 0.0)


VQA_EMPTY = EmptyCases(prediction=0.0, target=0.0, both=1.0)
_NORMALISED_TO_NOTHING = replace(VQA_EMPTY, note="What normalises to nothing, such as an article, is empty.")

VQA_ACCURACY = Family(
    name="vqa_accuracy",
    stats=("hits", "samples"),
    line="text",
    suits=frozenset({"text"}),
    combine=ratio,
    worst=miss_if_answered,
    ceiling=lambda sample: 1.0 if sample.target.answers else None,
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=_standard_accuracy,
            summary="Share of right answers: yes or no read from the reply, other answers equal after normalising.",
            formula="Without reasoning and wrapping. First answer yes or no: 1 if the reply begins with the same, or "
            "holds it and not the other; unclear: unparsed. Else 1 if the normalised reply equals a normalised answer.",
            empty=replace(VQA_EMPTY, note="Against yes or no an empty reply is unparsed."),
            source="ours",
        ),
        Protocol(
            "vqa-v2",
            version=1,
            score=_equality(vqa_v2_normalise),
            summary="Share of replies equal to the first answer after the VQA v2 normaliser.",
            formula="1 if reply and first answer are equal, each normalised once.",
            empty=_NORMALISED_TO_NOTHING,
            source="Goyal et al., arXiv:1612.00837, evaluation code; one answer in place of ten",
        ),
        Protocol(
            "medplib",
            version=1,
            score=_equality(medplib_normalise),
            summary="Share of replies equal to the first answer after MedPLIB's normaliser, as released.",
            formula="1 if reply and first answer are equal, each normalised once.",
            empty=_NORMALISED_TO_NOTHING,
            source="VQA metrics of MedPLIB, arXiv:2412.09278",
        ),
    ),
)

TOKEN_PRF = Family(
    name="token_prf",
    values=("f1", "precision", "recall"),
    line="text",
    suits=frozenset({"text"}),
    protocols=(
        Protocol(
            "standard",
            version=3,
            stats=("overlap", "predicted", "target"),
            score=_standard_tokens,
            combine=lambda sums: f1_precision_recall(sums[..., 0], sums[..., 1], sums[..., 2]),
            # At least 1: a failed prediction counts as 0 even against an answer without a word.
            worst=lambda sample: (
                0.0,
                0.0,
                float(max(len(_words(_reference(sample))), 1)) if sample.target.answers else 0.0,
            ),
            ceiling=lambda sample: 1.0 if sample.target.answers and _words(_reference(sample)) else None,
            certificate="A share of words: naming several answers earns a part of the right one, and recall alone is "
            "won by naming all words.",
            summary="Words in common with the first answer, without reasoning and wrapping, each counted as often as "
            "both sides have it.",
            formula="c = shared words, each the lesser of its two counts; precision = c / words of the reply, "
            "recall = c / words of the answer, F1 = 2 c / (words of both).",
            empty=EmptyCases(prediction=0.0, target=0.0, both="undefined"),
            source="ours; token F1 as in Rajpurkar et al., arXiv:1606.05250, with our normaliser",
        ),
        Protocol(
            "medplib",
            version=1,
            stats=("tp", "fp", "fn"),
            score=_medplib_tokens,
            combine=_medplib_tokens_combine,
            worst=_medplib_tokens_worst,
            # If no word of the reference survives, the released code gives 0 to every reply.
            ceiling=lambda sample: float(bool(_medplib_words(_reference(sample)))) if sample.target.answers else None,
            certificate="Repeating a word of the answer counts each time, and naming several answers earns a part of "
            "the right one.",
            summary="Words in common with the first answer as MedPLIB counts them: no clipping.",
            formula="tp = words of the reply that the answer has, fp = its others, fn = words of the answer that the "
            "reply lacks; P = tp / (tp + fp), R = tp / (tp + fn), F1 = 2 P R / (P + R). Both texts are normalised "
            "twice.",
            empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
            source="open-ended metrics of MedPLIB, arXiv:2412.09278",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*VQA_ACCURACY.rows(), *TOKEN_PRF.rows())
