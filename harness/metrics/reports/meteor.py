"""METEOR by nltk: with WordNet, with sentences split first, and by stems alone.

The words are aligned here as nltk aligns them, with its Porter stemmer and its reader of WordNet, whose results are
kept: reports repeat their words. Tests and `harness metric meteor --check` find the scores equal to the last digit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Missing, Outcome, Resource
from harness.metrics.ratios import miss_if_answered, ratio
from harness.paths import default_cache
from harness.records import Json, Prediction, Sample
from harness.text import wordnet
from harness.text.nltk_tokenizer import nltk_words
from harness.text.reply import answer_text
from harness.text.sentence_splitter import sentences

Words = Sequence[str]
Synonyms = Callable[[str], frozenset[str]]

# nltk's defaults, of Lavie and Agarwal (WMT 2007).
_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5
_REMEDY = "run 'harness doctor --fix', or install Debian's package wordnet-base"


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    """Return the Porter stem of a lower-case word by nltk."""
    stem: str = _porter_stemmer().stem(word)
    return stem


@cache
def _porter_stemmer() -> Any:
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


def _matched(ours: dict[int, str], theirs: dict[int, str]) -> list[tuple[int, int]]:
    """Take equal words out of both sides, from the last on, and return their places."""
    places: dict[str, list[int]] = {}
    for place, word in theirs.items():
        places.setdefault(word, []).append(place)
    found = [(place, free.pop()) for place, word in reversed(ours.items()) if (free := places.get(word))]
    _take_out(found, ours, theirs)
    return found


def _take_out(found: Sequence[tuple[int, int]], ours: dict[int, str], theirs: dict[int, str]) -> None:
    for our_place, their_place in found:
        del ours[our_place], theirs[their_place]


def _matched_synonyms(ours: dict[int, str], theirs: dict[int, str], synonyms: Synonyms) -> list[tuple[int, int]]:
    """Return the places of words of `ours`, from the last on, with the last free word that is one of its synonyms."""
    places: dict[str, list[int]] = {}
    for place, word in theirs.items():
        places.setdefault(word, []).append(place)
    found = []
    for place, word in reversed(ours.items()):
        shared = (places.keys() & synonyms(word)) | ({word} & places.keys())
        if shared:
            best = max(shared, key=lambda name: places[name][-1])
            found.append((place, places[best].pop()))
            if not places[best]:
                del places[best]
    return found


def aligned(reference: Words, hypothesis: Words, synonyms: Synonyms | None) -> list[tuple[int, int]]:
    """Return (hypothesis index, reference index) of the aligned words, by hypothesis index, as nltk aligns them.

    Equal words first, then equal stems, then a stem that is a synonym of another; each from the end of the hypothesis
    with the last word that is still free. The arguments are those of `meteor`.
    """
    ours, theirs = (dict(enumerate(map(str.lower, side))) for side in (hypothesis, reference))
    found = _matched(ours, theirs)
    if ours and theirs:
        ours, theirs = ({place: _stem(word) for place, word in side.items()} for side in (ours, theirs))
        found += _matched(ours, theirs)
        if synonyms is not None and ours and theirs:
            found += _matched_synonyms(ours, theirs, synonyms)
    return sorted(found)


def meteor(reference: Words, hypothesis: Words, synonyms: Synonyms | None) -> float:
    """Return F_mean times one minus the fragmentation penalty.

    P = m / len(hypothesis), R = m / len(reference), F_mean = P R / (0.9 P + 0.1 R), penalty = 0.5 (chunks / m) ** 3,
    where m is the number of aligned words and chunks that of the runs of them that are adjacent on both sides.

    Args:
        reference: Words in order; case does not matter.
        hypothesis: Likewise.
        synonyms: Stemmed word -> its synonyms; None aligns by words and stems alone.
    Returns:
        Share in [0, 1], higher is better. Nothing aligned, an empty side included: 0. Identical texts of m words reach
        1 - 0.5 / m ** 3, so one right word is worth 0.5.
    Source: nltk, `nltk.translate.meteor_score.single_meteor_score`.
    """
    matches = aligned(reference, hypothesis, synonyms)
    if not matches:
        return 0.0
    # In the order of nltk's own operations, so that no digit differs.
    precision, recall = len(matches) / len(hypothesis), len(matches) / len(reference)
    mean = (precision * recall) / (_ALPHA * precision + (1 - _ALPHA) * recall)
    chunks = 1 + sum(after != (before[0] + 1, before[1] + 1) for before, after in pairwise(matches))
    return float((1 - _GAMMA * (float(chunks) / len(matches)) ** _BETA) * mean)


@cache
def _synonyms() -> Synonyms:
    """Return the synonyms of this machine's WordNet.

    Raises:
        DataError: WordNet is missing or cannot be read.
    """
    place = wordnet.find(default_cache())
    if place is None:
        raise DataError(f"meteor: expected WordNet on this machine, found none; {_REMEDY}")
    return wordnet.open_word_net(place).synonyms


def _no_synonyms() -> None:
    """Stand in for `_synonyms` in the protocol that aligns by words and stems alone."""


def answer_words(text: str) -> list[str]:
    """Return nltk's words of a text without its reasoning: nltk defines METEOR, and not what of a reply is compared."""
    return nltk_words(answer_text(text))


def words_by_sentence(text: str) -> list[str]:
    """Return nltk's words of each sentence in turn.

    nltk splits the last full stop of a line off its word, so a text that is split first has more words.
    """
    return [word for sentence in sentences(text) for word in nltk_words(sentence)]


def _score(
    cut: Callable[[str], list[str]], known: Callable[[], Synonyms | None]
) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that cuts texts with `cut`; the best of several answers counts."""
    words = lru_cache(maxsize=1 << 12)(cut)

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        synonyms, reply = known(), words(prediction.text or "")
        return Outcome("ok", (max(meteor(words(answer), reply, synonyms) for answer in sample.target.answers), 1.0))

    return score


def _ceiling(cut: Callable[[str], list[str]]) -> Callable[[Sample], float | None]:
    """Return the score of repeating an answer: 1 - 0.5 / m ** 3 for m words, 0 for an answer without words."""

    def ceiling(sample: Sample) -> float | None:
        most = max((len(cut(answer)) for answer in sample.target.answers), default=None)
        return most and 1 - _GAMMA / most**_BETA

    return ceiling


def _missing(_parameters: Mapping[str, Json]) -> Missing | None:
    return None if wordnet.find(default_cache()) else Missing("WordNet is not on this machine", _REMEDY)


def _describe(_parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    place = wordnet.find(default_cache())
    return {} if place is None else wordnet.identity(place)


_WORD_NET = Resource(name="wordnet", missing=_missing, describe=_describe, stand_in="nltk-stem")


METEOR = Family(
    name="meteor",
    values=("meteor",),
    stats=("meteor", "samples"),
    line="text",
    suits=frozenset({"text", "grounded_text"}),
    combine=ratio,
    worst=miss_if_answered,
    formula="P R / (0.9 P + 0.1 R) x (1 - 0.5 (chunks / m)^3), P = m / reply words, R = m / answer words, m words "
    "aligned in chunks of neighbours. The best answer counts; a right answer of one word is worth 0.5.",
    empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
    protocols=(
        Protocol(
            name="nltk",
            version=2,
            score=_score(answer_words, _synonyms),
            ceiling=_ceiling(answer_words),
            resource=_WORD_NET,
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="METEOR of nltk: words, Porter stems and WordNet synonyms, the text, reasoning cut, as one line.",
            source="Lavie and Agarwal, WMT 2007; meteor_score of nltk",
        ),
        Protocol(
            name="m3d",
            version=1,
            score=_score(words_by_sentence, _synonyms),
            ceiling=_ceiling(words_by_sentence),
            resource=_WORD_NET,
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="METEOR of nltk with sentences split first, as M3D's evaluation does; ours are split by rule.",
            source="Bench/eval of M3D, arXiv:2404.00578; meteor of HF evaluate, which is that of nltk",
        ),
        Protocol(
            name="nltk-stem",
            version=2,
            score=_score(answer_words, _no_synonyms),
            ceiling=_ceiling(answer_words),
            caveat="Without synonyms: not comparable with METEOR that uses WordNet.",
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="METEOR of nltk without WordNet: words and Porter stems only. Another metric, and lower.",
            source="Lavie and Agarwal, WMT 2007; meteor_score of nltk with an empty word net",
        ),
    ),
)

METRICS: tuple[Metric, ...] = METEOR.rows()
