"""METEOR as nltk computes it: with WordNet, with sentences split first, and by stems alone.

Values equal those of nltk's `meteor_score`; what makes this one faster is that words, stems and synonyms are looked up
once per process.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Missing, Outcome, Resource
from harness.metrics.ratios import miss_if_answered, ratio
from harness.paths import default_cache
from harness.records import Json, Prediction, Sample
from harness.text import wordnet
from harness.text.nltk_tokenizer import nltk_words
from harness.text.sentence_splitter import sentences

Words = Sequence[str]
Numbered = list[tuple[int, str]]
Pairs = list[tuple[int, int]]
Synonyms = Callable[[str], frozenset[str]]

# Weight of precision, exponent and weight of fragmentation: nltk's defaults, of Lavie and Agarwal (WMT 2007).
_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5
_REMEDY = "run 'harness doctor --fix', or install Debian's package wordnet-base"


def meteor(reference: Words, hypothesis: Words, synonyms: Synonyms | None) -> float:
    """Return F_mean times one minus the fragmentation penalty.

    P = m / len(hypothesis), R = m / len(reference), F_mean = P R / (0.9 P + 0.1 R), penalty = 0.5 (chunks / m) ** 3,
    m being the aligned words and chunks the runs of them that are adjacent on both sides.

    Args:
        reference: Words in order; case does not matter.
        hypothesis: Likewise.
        synonyms: Stemmed word -> its synonyms; None aligns by words and stems alone.
    Returns:
        Share in [0, 1], higher is better. Nothing aligned, an empty side included: 0. Identical texts of m words reach
        1 - 0.5 / m ** 3, so one right word is worth 0.5.
    Source: nltk, `nltk.translate.meteor_score.single_meteor_score`.
    """
    pairs = align(reference, hypothesis, synonyms)
    if not pairs:
        return 0.0
    precision, recall = len(pairs) / len(hypothesis), len(pairs) / len(reference)
    mean = (precision * recall) / (_ALPHA * precision + (1 - _ALPHA) * recall)
    return float((1 - _GAMMA * (_chunks(pairs) / len(pairs)) ** _BETA) * mean)


def align(reference: Words, hypothesis: Words, synonyms: Synonyms | None) -> Pairs:
    """Return (hypothesis index, reference index) of aligned words, by hypothesis index; nltk's rules.

    Equal lower-case words first, then words of equal Porter stem, then synonyms, looked up under the stem of the
    hypothesis word and compared with the stem of the reference word. Each pass goes from the end of the hypothesis and
    takes the last free reference word; crossings are not avoided.
    """
    ours = [(index, word.lower()) for index, word in enumerate(hypothesis)]
    theirs = [(index, word.lower()) for index, word in enumerate(reference)]
    pairs, ours, theirs = _match(ours, theirs, None)
    if ours and theirs:
        ours, theirs = _stemmed(ours), _stemmed(theirs)
        found, ours, theirs = _match(ours, theirs, None)
        pairs += found
    if ours and theirs and synonyms is not None:
        pairs += _match(ours, theirs, synonyms)[0]
    return sorted(pairs)


def _match(ours: Numbered, theirs: Numbered, synonyms: Synonyms | None) -> tuple[Pairs, Numbered, Numbered]:
    """Pair words that are equal, or synonyms where those are given; return the pairs and what is left of each side."""
    free: dict[str, list[int]] = {}
    for place, (_, word) in enumerate(theirs):
        free.setdefault(word, []).append(place)
    pairs, left, taken = [], [], set()
    for index, word in reversed(ours):
        best = word if synonyms is None else _last_free(free, word, synonyms(word))
        places = free.get(best)
        if places:
            place = places.pop()
            taken.add(place)
            pairs.append((index, theirs[place][0]))
        else:
            left.append((index, word))
    return pairs, left[::-1], [word for place, word in enumerate(theirs) if place not in taken]


def _last_free(free: Mapping[str, Sequence[int]], word: str, synonyms: frozenset[str]) -> str:
    """Return which of `word` and its synonyms stands last among the free words; `word` itself where none does."""
    candidates = [name for name in free.keys() & synonyms if free[name]]
    return max((*candidates, *([word] if free.get(word) else ())), key=lambda name: free[name][-1], default=word)


def _stemmed(words: Numbered) -> Numbered:
    return [(index, _stem(word)) for index, word in words]


@lru_cache(maxsize=1 << 16)
def _stem(word: str) -> str:
    stem: str = _stemmer()(word)
    return stem


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer

    stem: Callable[[str], str] = PorterStemmer().stem
    return stem


def _chunks(pairs: Pairs) -> int:
    """Return the number of runs of pairs that go on by one word on both sides."""
    return 1 + sum((ours + 1, theirs + 1) != following for (ours, theirs), following in pairwise(pairs))


@cache
def _synonyms() -> Synonyms:
    """Return the synonyms of this machine's WordNet.

    Raises:
        DataError: There is none, or it cannot be read.
    """
    place = wordnet.find(default_cache())
    if place is None:
        raise DataError(f"meteor: expected WordNet on this machine, found none; {_REMEDY}")
    return wordnet.open_word_net(place).synonyms


def _no_synonyms() -> None:
    """Stand in for `_synonyms` where stems are all there is."""


def _words_by_sentence(text: str) -> list[str]:
    return [word for sentence in sentences(text) for word in nltk_words(sentence)]


def _score(
    cut: Callable[[str], list[str]], known: Callable[[], Synonyms | None]
) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that cuts texts with `cut`; of several answers the one that scores best counts."""
    words = lru_cache(maxsize=1 << 12)(cut)

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        synonyms, reply = known(), words(prediction.text or "")
        return Outcome("ok", (max(meteor(words(answer), reply, synonyms) for answer in sample.target.answers), 1.0))

    return score


def _ceiling(cut: Callable[[str], list[str]]) -> Callable[[Sample], float | None]:
    """Return what repeating an answer reaches: 1 - 0.5 / m ** 3 of its m words, 0 of an answer without words."""

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
            version=1,
            score=_score(nltk_words, _synonyms),
            ceiling=_ceiling(nltk_words),
            resource=_WORD_NET,
            summary="METEOR of nltk: words, Porter stems and WordNet synonyms, the text taken as one line.",
            source="Lavie and Agarwal, WMT 2007; meteor_score of nltk",
        ),
        Protocol(
            name="m3d",
            version=1,
            score=_score(_words_by_sentence, _synonyms),
            ceiling=_ceiling(_words_by_sentence),
            resource=_WORD_NET,
            summary="METEOR of nltk with sentences split first, as M3D's evaluation does; ours are split by rule.",
            source="Bench/eval of M3D, arXiv:2404.00578; meteor of HF evaluate, which is that of nltk",
        ),
        Protocol(
            name="nltk-stem",
            version=1,
            score=_score(nltk_words, _no_synonyms),
            ceiling=_ceiling(nltk_words),
            caveat="Without synonyms: not comparable with METEOR that uses WordNet.",
            summary="METEOR of nltk without WordNet: words and Porter stems only. Another metric, and lower.",
            source="Lavie and Agarwal, WMT 2007; meteor_score of nltk with an empty word net",
        ),
    ),
)

METRICS: tuple[Metric, ...] = METEOR.rows()
