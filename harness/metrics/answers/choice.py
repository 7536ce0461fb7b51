"""Accuracy on questions with options: one row per rule of reading the chosen option out of a prediction."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random

from harness.errors import DataError
from harness.metrics.answers.closed import mmmu_open, mmmu_open_ceiling
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome, Pair, Parameter, Stats
from harness.metrics.ratios import MISS, UNCOUNTED, ratio
from harness.records import Prediction, Sample
from harness.text.choices.medevalkit import medevalkit
from harness.text.choices.mmmu import mmmu
from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.choices.similarity import huatuo, omnimedvqa
from harness.text.choices.strict import exact, strict_letter
from harness.text.choices.vlmevalkit import vlmevalkit
from harness.text.normalisers import medplib_normalise

Read = Callable[[str, Sequence[str]], ChoiceReading]
IsRight = Callable[[Sample, str], bool]
Score = Callable[[Sample, Prediction], Outcome]

_MMMU_SEED = 42  # MMMU, eval_utils.py
_EMPTY_TARGET = "An empty target: no option is the right one."
_EMPTY = EmptyCases(prediction="unparsed", target="undefined", both="undefined", note=_EMPTY_TARGET)
_MMMU_READING = (
    "Read by the first of: a letter in round brackets; one between blanks; an option's text in a reply of more than "
    "five words. Of several the last counts. Without options: as mmmu_open."
)
_MMMU_SOURCE = (
    "eval_utils.py of github.com/MMMU-Benchmark/MMMU, with the unwrapping of "
    "github.com/alibaba-damo-academy/MedEvalKit (9b12e3b)"
)


def reply(prediction: Prediction) -> str:
    """Return the text of the reply, or the chosen letter if the model gave a letter and no text."""
    text = prediction.text or ""
    return text if text.strip() else prediction.choice or text


def right_text(sample: Sample) -> str | None:
    """Return the text of the right option, ends trimmed; None if no option has the right letter."""
    return _trimmed(sample).get(sample.target.choice or "")


def _trimmed(sample: Sample) -> dict[str, str]:
    return {letter: option.strip() for letter, option in lettered(sample.choices).items()}


def same_text(sample: Sample, letter: str) -> bool:
    """Return whether the option of this letter has the text of the right option, ends trimmed.

    If several options share that text, each of them is right.
    """
    return _trimmed(sample).get(letter) == right_text(sample)


def same_letter(sample: Sample, letter: str) -> bool:
    """Return whether this is the right letter; case matters."""
    return letter == sample.target.choice


def first_letter_of_text(sample: Sample, letter: str) -> bool:
    """Return whether this is the letter of the first option with the text of the right option.

    If several options share that text, only the first counts.
    """
    text = right_text(sample)
    return letter == next(other for other, option in _trimmed(sample).items() if option == text)


def outcome(reading: ChoiceReading, *, right: bool) -> Outcome:
    """Return the outcome of a reading: an unread reply is `unparsed`, a letter that no option has is just wrong."""
    detail = {"letter": reading.letter, "rule": reading.rule}
    if reading.letter is None:
        return Outcome("unparsed", MISS, detail)
    return Outcome("ok", (float(right), 1.0), detail)


# --- scores


def _by_reading(read: Read, is_right: IsRight) -> Score:
    """Return a score that reads a letter out of the reply; a sample without a right option is undefined."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if right_text(sample) is None:
            return Outcome("undefined")
        reading = read(reply(prediction), sample.choices)
        return outcome(reading, right=reading.letter is not None and is_right(sample, reading.letter))

    return score


def medplib_score(sample: Sample, prediction: Prediction) -> Outcome:
    """Compare the reply with the text of the right option, both as MedPLIB's normaliser leaves them.

    The score is 0 or 1. Letters are not read: "B" is wrong, and a right option "A" normalises to nothing, as does an
    empty reply. The right text is the target's first answer, else that of the right letter; without either the score
    is undefined.

    Source: MedPLIB's cal_metric_omniMedVQA.
    """
    text = sample.target.answers[0] if sample.target.answers else right_text(sample)
    if text is None:
        return Outcome("undefined")
    hit = medplib_normalise(reply(prediction)) == medplib_normalise(text)
    return Outcome("ok", (float(hit), 1.0), {"letter": sample.target.choice if hit else None, "rule": "equal_text"})


def m3d_score(sample: Sample, prediction: Prediction) -> Outcome:
    """Search the reply for the right letter followed by a full stop; case matters.

    The score is 0 or 1, and 0 for an empty reply. Nothing else is read, so a reply that lists all options is right.
    Without a right letter the score is undefined.

    Source: M3D's Bench/eval/eval_vqa.py.
    """
    letter = sample.target.choice
    if letter is None:
        return Outcome("undefined")
    hit = f"{letter}." in reply(prediction)
    return Outcome("ok", (float(hit), 1.0), {"letter": letter if hit else None, "rule": "letter_and_full_stop"})


def prefix_score(sample: Sample, prediction: Prediction, normalise: str = "mean") -> Outcome:
    """Take the option whose continuation has the lowest negative log likelihood, the first if several tie.

    The score is 0 or 1. `normalise: sum` multiplies each mean by its number of tokens. A prediction without likelihoods
    is `unparsed`; a sample without a right option is undefined.

    Raises:
        DataError: There is not one number per option, or `sum` lacks the token counts.
    Source: OmniMedVQA, arXiv:2402.09181, prefix-based score.
    """
    if right_text(sample) is None:
        return Outcome("undefined")
    rule = f"lowest_{normalise}_nll"
    if not prediction.nll:
        return outcome(ChoiceReading(None, rule), right=False)
    options = len(sample.choices)
    if len(prediction.nll) != options:
        raise DataError(f"{sample.id}: nll: expected one number per option ({options}), found {len(prediction.nll)}")
    counts = prediction.nll_tokens if normalise == "sum" else (1,) * options
    if len(counts) != options:
        raise DataError(
            f"{sample.id}: nll_tokens: expected one per option ({options}), as 'normalise: sum' multiplies by them, "
            f"found {len(counts)}; let the model answer with nll_tokens or use 'normalise: mean'"
        )
    # The released score takes the largest of softmax(1 / mean NLL), which belongs to the lowest mean.
    losses = [mean * count for mean, count in zip(prediction.nll, counts, strict=True)]
    letter = min(zip(lettered(sample.choices), losses, strict=False), key=lambda pair: pair[1])[0]
    return outcome(ChoiceReading(letter, rule), right=same_text(sample, letter))


def mmmu_prepare(pairs: Iterable[Pair]) -> Score:
    """Return MMMU's score with the random draws of a corpus: its n-th unread reply gets the n-th draw of seed 42.

    As in the released code, the generator is seeded once and drawn from in file order, for unread replies only, empty
    ones included. Each score is 0 or 1; without a right option it is undefined.

    Source: eval_utils.py of github.com/MMMU-Benchmark/MMMU.
    """
    draws = Random(_MMMU_SEED)
    drawn: dict[tuple[str, str], ChoiceReading] = {}
    for sample, prediction in pairs:
        text = reply(prediction)
        # A reply that recurs for a sample keeps its draw; drawing again would shift the draws of all later replies.
        if (sample.id, text) in drawn or right_text(sample) is None or mmmu(text, sample.choices).letter is not None:
            continue
        drawn[sample.id, text] = ChoiceReading(draws.choice(list(lettered(sample.choices))), "drawn")

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        reading = drawn.get((sample.id, reply(prediction)))
        if reading is None:
            return _mmmu_no_random(sample, prediction)
        return outcome(reading, right=same_letter(sample, reading.letter or ""))

    return score


def mmmu_score(sample: Sample, prediction: Prediction) -> Outcome:
    """Score a reply as MMMU does in a corpus that holds no other reply."""
    return mmmu_prepare([(sample, prediction)])(sample, prediction)


_mmmu_letter = _by_reading(mmmu, same_letter)


def _mmmu_no_random(sample: Sample, prediction: Prediction) -> Outcome:
    """Score a reply as MMMU does: by its letter if there are options, else by the rule for open questions."""
    return mmmu_open(sample, prediction) if _is_open(sample) else _mmmu_letter(sample, prediction)


def _is_open(sample: Sample) -> bool:
    return not sample.choices and bool(sample.target.answers)


# --- ceilings, and the stats of the worst reply


def _ceiling(sample: Sample) -> float | None:
    return None if right_text(sample) is None else 1.0


def _mmmu_ceiling(sample: Sample) -> float | None:
    return mmmu_open_ceiling(sample) if _is_open(sample) else _ceiling(sample)


def _medplib_ceiling(sample: Sample) -> float | None:
    return 1.0 if sample.target.answers else _ceiling(sample)


def _m3d_ceiling(sample: Sample) -> float | None:
    return None if sample.target.choice is None else 1.0


def _worst_below(ceiling: Callable[[Sample], float | None]) -> Callable[[Sample], Stats]:
    """Return the `worst` of a protocol: a miss, unless its ceiling says that no reply to the sample has a value."""
    return lambda sample: UNCOUNTED if ceiling(sample) is None else MISS


# --- the table

_NORMALISE = Parameter(
    name="normalise",
    default="mean",
    summary="Compare the mean NLL per token of the continuations or its sum.",
    choices=("mean", "sum"),
)

CHOICE_ACCURACY = Family(
    name="choice_accuracy",
    stats=("hits", "samples"),
    line="choice",
    suits=frozenset({"choice"}),
    combine=ratio,
    worst=_worst_below(_ceiling),
    ceiling=_ceiling,
    empty=_EMPTY,
    protocols=(
        Protocol(
            "strict-letter",
            version=3,
            score=_by_reading(strict_letter, same_text),
            summary="Share of right options: letters that exist and option texts only, never a guess; compared by "
            "option text.",
            formula="1 if the option read has the right option's text. Read without reasoning and wrapping: the whole "
            "reply is a letter or an option's text; else the one option that it asserts, by letter or by text, and "
            "does not deny.",
            source="ours",
        ),
        Protocol(
            "exact",
            version=2,
            score=_by_reading(exact, same_text),
            summary="Share of right options; a reply is an option's letter or text to the character, or it is not "
            "read.",
            formula="1 if the option whose letter or text the trimmed reply, without reasoning, equals has the right "
            "option's text.",
            source="ours",
        ),
        Protocol(
            "medplib",
            version=1,
            score=medplib_score,
            worst=_worst_below(_medplib_ceiling),
            ceiling=_medplib_ceiling,
            certificate="An empty reply equals an option whose text normalises to nothing, such as an article.",
            summary="Share of replies equal to the right option's text after MedPLIB's normaliser; letters are wrong.",
            formula="1 if reply and right option's text are equal, each normalised once.",
            empty=replace(
                _EMPTY,
                prediction=0.0,
                note=f"{_EMPTY_TARGET} A text that normalises to nothing, such as an article, equals the empty reply.",
            ),
            source="cal_metric_omniMedVQA of MedPLIB, arXiv:2412.09278",
        ),
        Protocol(
            "omnimedvqa-qa",
            version=1,
            score=_by_reading(omnimedvqa, same_text),
            certificate="Every reply, even an unclear one, is read as the option most like it.",
            summary="Share of replies most like the right option by difflib, as OmniMedVQA's question-answering score.",
            formula="1 if the option of the largest difflib ratio with the reply, of equals the first, has the right "
            "text.",
            source="question-answering score of OmniMedVQA, arXiv:2402.09181; "
            "github.com/OpenGVLab/Multi-Modality-Arena",
        ),
        Protocol(
            "omnimedvqa-prefix",
            version=1,
            score=prefix_score,
            parameters=(_NORMALISE,),
            summary="Share of samples whose right option has the lowest NLL as a continuation, as OmniMedVQA's prefix "
            "score.",
            formula="1 if the option of the least NLL, of equals the first, has the right option's text.",
            empty=replace(_EMPTY, note=f"{_EMPTY_TARGET} Empty: no likelihoods."),
            source="prefix-based score of OmniMedVQA, arXiv:2402.09181; github.com/OpenGVLab/Multi-Modality-Arena",
        ),
        Protocol(
            "huatuo",
            version=1,
            score=_by_reading(huatuo, first_letter_of_text),
            certificate="An empty, unclear or denying reply is read as an option all the same.",
            summary="Share of right letters as HuatuoGPT-Vision's matcher reads them: the first lone a-n, option text, "
            "likeness.",
            formula="1 if the letter read, in its case, is that of the first option with the right text. Read by the "
            "first of: a lone letter a to n; the option text that occurs last; the option most alike, of equals the "
            "last.",
            empty=replace(
                _EMPTY, prediction="varies", note=f"{_EMPTY_TARGET} An empty reply is read as the last option."
            ),
            source="scorer.py of github.com/FreedomIntelligence/HuatuoGPT-Vision (2025-01), handed the options",
        ),
        Protocol(
            "medevalkit",
            version=1,
            score=_by_reading(medevalkit, same_letter),
            certificate="An empty or unclear reply is read as an option all the same.",
            summary="Share of right letters as MedEvalKit reads them for OmniMedVQA: unwrapped letter, else likeness.",
            formula="1 if the letter read is the right one. Read by the first of: what is left of the unwrapped reply "
            "is a letter; the option, written as a. text, that is most like it, of equals the first.",
            empty=replace(
                _EMPTY, prediction="varies", note=f"{_EMPTY_TARGET} An empty reply is read as the first option."
            ),
            source="utils/utils.py of github.com/alibaba-damo-academy/MedEvalKit (9b12e3b)",
        ),
        Protocol(
            "vlmevalkit",
            version=1,
            score=_by_reading(vlmevalkit, same_letter),
            certificate="A denied option is credited like one that is chosen.",
            summary="Share of right letters as VLMEvalKit reads them without a judge.",
            formula="1 if the letter read is the right one. Read by the first of: the only option letter, among the "
            "last four words; a letter behind answer is; the only option text in a short reply.",
            source="vlmeval/utils/matching_util.py of github.com/open-compass/VLMEvalKit (e8e78f0)",
        ),
        Protocol(
            "mmmu",
            version=1,
            score=mmmu_score,
            prepare=mmmu_prepare,
            worst=_worst_below(_mmmu_ceiling),
            ceiling=_mmmu_ceiling,
            certificate="An unread reply is given an option at random, and of several options the last counts.",
            summary="Share of right letters as MMMU reads them, unread replies drawn at random with its seed 42 in "
            "sample order.",
            formula=f"1 if the letter read, or for an unread reply the one drawn, is the right one. {_MMMU_READING}",
            empty=replace(
                _EMPTY, prediction="varies", note=f"{_EMPTY_TARGET} An empty reply is given an option by the draw."
            ),
            source=_MMMU_SOURCE,
        ),
        Protocol(
            "mmmu-no-random",
            version=1,
            score=_mmmu_no_random,
            worst=_worst_below(_mmmu_ceiling),
            ceiling=_mmmu_ceiling,
            certificate="Of several options the last counts, and a denied one like one that is chosen.",
            summary="Share of right letters as MMMU reads them, unread replies wrong in place of drawn at random.",
            formula=f"1 if the letter read is the right one. {_MMMU_READING}",
            source=_MMMU_SOURCE,
        ),
        Protocol(
            "m3d",
            version=1,
            score=m3d_score,
            worst=_worst_below(_m3d_ceiling),
            ceiling=_m3d_ceiling,
            certificate="A reply that names every option, each with a full stop, is always right, and so is one that "
            "denies the right one.",
            summary="Share of replies that hold the right letter and a full stop, as M3D scores closed questions.",
            formula="1 if the right letter and a full stop stand anywhere in the reply, case and all.",
            empty=replace(_EMPTY, prediction=0.0),
            source="Bench/eval/eval_vqa.py of M3D, arXiv:2404.00578",
        ),
    ),
)

METRICS: tuple[Metric, ...] = CHOICE_ACCURACY.rows()
