"""Rows of ROUGE, METEOR, BLEU and CIDEr compared with the libraries that define them, for `harness metric --check`.

A run uses our own code where it is faster and tests find it equal. This module computes the same with the library
alone, so that anybody can see on their own reports that no digit differs. No run calls this module.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from harness.errors import SpecError
from harness.metrics.metric import Metric, Missing, Pair, Stats
from harness.metrics.reports import meteor_java
from harness.metrics.reports.bleu import ORDERS, standard_tokens
from harness.paths import default_cache
from harness.text import wordnet
from harness.text.ptb_tokenizer import caption_line
from harness.text.reply import answer_text
from harness.text.sentence_splitter import sentences
from harness.text.tokenizers import unicode_words, without_grounding_tags

Differences = Iterator[str | None]

_LINE_BREAK = re.compile("[\n\r\v\f\x85\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class Check:
    """How the rows of one metric are computed by a library.

    Attributes:
        package: The distribution that defines the row.
        differences: (row, pairs) -> for each pair None if row and library agree, else both values as text.
        missing: Why the library cannot be used on this machine; None if it can.
    """

    package: str
    differences: Callable[[Metric, Sequence[Pair]], Differences]
    missing: Callable[[], Missing | None] = lambda: None

    @property
    def library(self) -> str:
        """Name and version of the library."""
        return f"{self.package} {metadata.version(self.package)}"


def find_check(metric: Metric) -> Check:
    """Return the check of a row.

    Raises:
        SpecError: No library that is used here defines the row, or the library cannot be used on this machine.
    """
    where = f"{metric.name} ({metric.protocol}): --check"
    check = _CHECKS.get((metric.name, metric.protocol))
    if check is None:
        known = ", ".join(f"{name} ({protocol})" for name, protocol in _CHECKS)
        raise SpecError(f"{where}: no library that is used here defines this row; expected one of {known}")
    if (missing := check.missing()) is not None:
        raise SpecError(f"{where}: {missing.reason}; {missing.remedy}")
    return check


def _of_stats(library: Callable[[Metric], Callable[[Pair], Stats]]) -> Callable[[Metric, Sequence[Pair]], Differences]:
    """Return the comparison of a row's stats with those that a library gives for one pair after the other."""

    def differences(metric: Metric, pairs: Sequence[Pair]) -> Differences:
        expected = library(metric)
        for pair in pairs:
            named = zip(metric.stats, metric.score(*pair).stats, expected(pair), strict=True)
            unequal = [f"{name} is {one!r}, by the library {other!r}" for name, one, other in named if one != other]
            yield "; ".join(unequal) or None

    return differences


class _UnicodeWords:
    """Our Unicode words as a tokenizer of rouge_score, which has none for other scripts."""

    def tokenize(self, text: str) -> list[str]:
        return list(unicode_words(text))


def _by_rouge_score(metric: Metric) -> Callable[[Pair], Stats]:
    """Return F1 by rouge_score's scorer; `m3d` takes its default tokenizer, whose words are of a-z and 0-9."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(metric.values), tokenizer=None if metric.protocol == "m3d" else _UnicodeWords())

    def stats(pair: Pair) -> Stats:
        sample, prediction = pair
        words = str if metric.protocol == "m3d" else answer_text
        best = scorer.score_multi([words(answer) for answer in sample.target.answers], words(prediction.text or ""))
        return (*(float(best[name].fmeasure) for name in metric.values), 1.0)

    return stats


class _NoSynsets:
    """A word net that knows no word, so that nltk's METEOR aligns by words and stems alone."""

    def synsets(self, _word: str) -> list[Any]:
        return []


def _by_nltk_meteor(metric: Metric) -> Callable[[Pair], Stats]:
    """Return METEOR by nltk's own tokenizer, stemmer and reader of WordNet; only the sentences of `m3d` are ours."""
    from nltk import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    place = wordnet.find(default_cache())
    reader = _NoSynsets() if metric.resource is None or place is None else wordnet.open_word_net(place).reader

    def words(text: str) -> list[str]:
        lines = sentences(text) if metric.protocol == "m3d" else [answer_text(text)]
        return [word for line in lines for word in word_tokenize(line, preserve_line=True)]

    def stats(pair: Pair) -> Stats:
        sample, prediction = pair
        answers = [words(answer) for answer in sample.target.answers]
        return (float(meteor_score(answers, words(prediction.text or ""), wordnet=reader)), 1.0)

    return stats


def _by_nltk_counts(_metric: Metric) -> Callable[[Pair], Stats]:
    """Return the counts of BLEU by nltk.

    The counts are compared and not the value: nltk adds up the logarithms of the precisions one by one, ours come from
    numpy for all resamples at once, and the two differ in the sixteenth digit.
    """
    from nltk.translate.bleu_score import closest_ref_length, modified_precision

    def stats(pair: Pair) -> Stats:
        sample, prediction = pair
        words = standard_tokens(prediction.text or "")
        references = [standard_tokens(answer) for answer in sample.target.answers]
        precisions = [modified_precision(references, words, order) for order in ORDERS]
        # nltk divides by 1 where a text is shorter than the n-gram; we keep the true total, 0.
        totals = [part.denominator for part in precisions[: len(words)]] + [0] * max(0, len(ORDERS) - len(words))
        length = closest_ref_length(references, len(words))
        return tuple(map(float, (*(part.numerator for part in precisions), *totals, len(words), length, 1)))

    return stats


def _of_tokens(metric: Metric, pairs: Sequence[Pair]) -> Differences:
    """Yield where our Treebank tokens differ from those that pycocoevalcap's Java program cuts; its values follow."""
    texts = [(prediction.text or "", *sample.target.answers) for sample, prediction in pairs]
    words = answer_text if metric.name == "cider" else without_grounding_tags
    texts = [tuple(map(words, group)) for group in texts]
    # The program reads one text per line, so a line break inside a text becomes a blank, as in pycocoevalcap.
    lines = {text: _LINE_BREAK.sub(" ", text) for group in texts for text in group}
    tokens = dict(zip(lines, meteor_java.treebank_lines(list(lines.values())), strict=True))
    for group in texts:
        unequal = [text for text in group if caption_line(text) != tokens[text]]
        yield "; ".join(f"tokens are {caption_line(text)!r}, by Java {tokens[text]!r}" for text in unequal) or None


_ROUGE = Check("rouge-score", _of_stats(_by_rouge_score))
_METEOR = Check("nltk", _of_stats(_by_nltk_meteor))
_TOKENS = Check("pycocoevalcap", _of_tokens, missing=lambda: meteor_java.missing({}))

_CHECKS: Mapping[tuple[str, str], Check] = {
    ("bleu", "standard"): Check("nltk", _of_stats(_by_nltk_counts)),
    ("bleu", "mimo"): _TOKENS,
    ("rouge", "standard"): _ROUGE,
    ("rouge", "m3d"): _ROUGE,
    ("rouge", "mimo"): _TOKENS,
    ("meteor", "nltk"): _METEOR,
    ("meteor", "m3d"): _METEOR,
    ("meteor", "nltk-stem"): _METEOR,
    ("cider", "standard"): _TOKENS,
}
