"""ROUGE under our `standard` rules and those of released code. Of several accepted answers the best one counts.

Protocols `standard` and `m3d` give rouge_score's values to the last digit, five to nine times as fast: its table of
common subsequences has a cell for each pair of words, ours a bit. `harness metric rouge --check` compares both.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome, Stats
from harness.metrics.ratios import miss_if_answered, ratio
from harness.metrics.reports.bleu import clipped_matches
from harness.records import Prediction, Sample
from harness.text.ptb_tokenizer import caption_line
from harness.text.reply import answer_text
from harness.text.tokenizers import Tokens, rouge_tokens, unicode_words, without_grounding_tags

# Weight of recall against precision in COCO's F: pycocoevalcap, rouge.py.
_BETA = 1.2

Tokenizer = Callable[[str], Tokens]
Compare = Callable[[Sample, str], tuple[float, ...]]


def _rows(first: Sequence[str], second: Sequence[str]) -> list[int]:
    """Return the rows of the table of longest common subsequences as bit sets.

    Row i belongs to the first i words of `first`; the length for those and the first j words of `second` is the number
    of zeros among its lowest j bits.

    Source: Hyyroe, Bit-parallel LCS-length computation revisited, 2004.
    """
    places: dict[str, int] = {}
    for place, word in enumerate(second):
        places[word] = places.get(word, 0) | (1 << place)
    full = (1 << len(second)) - 1
    row = full
    rows = [row]
    for word in first:
        shared = row & places.get(word, 0)
        if shared:
            # The carries of one addition update all columns of the row at once.
            row = ((row + shared) | (row - shared)) & full
        rows.append(row)
    return rows


def common_length(first: Sequence[str], second: Sequence[str]) -> int:
    """Return how many words the longest common subsequence of both texts has; 0 if one is empty."""
    return len(second) - _rows(first, second)[-1].bit_count()


def _common_places(first: Sequence[str], second: Sequence[str]) -> set[int]:
    """Return the places in `first` of the longest common subsequence that rouge_score reads out.

    From the ends: equal words are taken; else a step is made in `second` if that loses nothing and a step in `first`
    would, else in `first`. Several subsequences may be the longest, and the union over lines depends on which is taken.

    Source: rouge_score, `_backtrack_norec`.
    """
    rows = _rows(first, second)

    def length(row: int, column: int) -> int:
        return column - (rows[row] & ((1 << column) - 1)).bit_count()

    row, column = len(first), len(second)
    places: set[int] = set()
    while row and column:
        if first[row - 1] == second[column - 1]:
            row, column = row - 1, column - 1
            places.add(row)
        elif length(row, column - 1) > length(row - 1, column):
            column -= 1
        else:
            row -= 1
    return places


def _f1(matches: int, predicted: int, reference: int) -> float:
    """Return the harmonic mean of precision and recall; 0 if nothing matches."""
    if not matches:
        return 0.0
    # In rouge_score's order of operations: 2 matches / (predicted + reference) differs in the last digit.
    precision, recall = matches / predicted, matches / reference
    return 2 * precision * recall / (precision + recall)


def _summary_f1(predicted: Sequence[Tokens], reference: Sequence[Tokens]) -> float:
    """Return ROUGE-Lsum of two texts by line: F1 of the reference's words that a predicted line shares in order.

    Source: Lin, 2004, section 3.2; rouge_score, `_summary_level_lcs`.
    """
    # The paper counts a word once for each line that shares it; as in ROUGE-1.5.5, no more often than a text has it.
    left = Counter(word for line in predicted for word in line) & Counter(word for line in reference for word in line)
    matches = 0
    for line in reference:
        for place in sorted(set().union(*(_common_places(line, other) for other in predicted))):
            if left[line[place]] > 0:
                left[line[place]] -= 1
                matches += 1
    return _f1(matches, sum(map(len, predicted)), sum(map(len, reference)))


def _f1_scores(predicted: str, reference: str, tokenize: Tokenizer) -> dict[str, float]:
    """Return F1 by name: of 1-grams, 2-grams, the longest common subsequence and its union over lines."""
    ours, theirs = tokenize(predicted), tokenize(reference)
    scores = {
        f"rouge{order}": _f1(clipped_matches(ours, [theirs], order), len(ours) - order + 1, len(theirs) - order + 1)
        for order in (1, 2)
    }
    scores["rougeL"] = _f1(common_length(ours, theirs), len(ours), len(theirs))
    scores["rougeLsum"] = scores["rougeL"]
    # If both sides are one line the union is the subsequence itself.
    if "\n" in predicted.strip("\n") or "\n" in reference.strip("\n"):
        texts = ([tokenize(line) for line in text.split("\n") if line] for text in (predicted, reference))
        scores["rougeLsum"] = _summary_f1(*texts)
    return scores


def _best_f1(tokenize: Tokenizer, names: Sequence[str], words: Callable[[str], str] = str) -> Compare:
    """Return a comparison by F1 of what `words` leaves of each text."""

    def best(sample: Sample, text: str) -> tuple[float, ...]:
        """Return the highest F1 over the answers, each value on its own, as rouge_score's `score_multi`."""
        scores = [_f1_scores(words(text), words(answer), tokenize) for answer in sample.target.answers]
        return tuple(max(found[name] for found in scores) for name in names)

    return best


def _coco_words(text: str) -> list[str]:
    """Return the Treebank tokens as COCO's ROUGE splits them, which gives an empty text one token, the empty one."""
    # `split(" ")` and not `split()`: a no-break space within a fraction stays within its token.
    return caption_line(without_grounding_tags(text)).split(" ")


def _coco(sample: Sample, text: str) -> tuple[float, ...]:
    """Return ROUGE-L of the COCO caption code: F of the best precision and the best recall over the answers, beta 1.2.

    In [0, 1]. Two texts without words score 1, as released; one such text 0. Source: Lin, 2004; pycocoevalcap 1.2.
    """
    predicted = _coco_words(text)
    references = [_coco_words(answer) for answer in sample.target.answers]
    common = [common_length(predicted, reference) for reference in references]
    precision = max(common) / len(predicted)
    recall = max(length / len(reference) for length, reference in zip(common, references, strict=True))
    if not precision or not recall:
        return (0.0,)
    return ((1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision),)


def _score(compare: Compare) -> Callable[[Sample, Prediction], Outcome]:
    def score(sample: Sample, prediction: Prediction) -> Outcome:
        """Compare the reply with the answers; a sample with a side without words is `ok`."""
        if not sample.target.answers:
            return Outcome("undefined")
        return Outcome("ok", (*compare(sample, prediction.text or ""), 1.0))

    return score


def _worst(values: Sequence[str]) -> Callable[[Sample], Stats]:
    return lambda sample: (*(0.0,) * len(values), 1.0 if sample.target.answers else 0.0)


def _ceiling(compare: Compare) -> Callable[[Sample], float | None]:
    def ceiling(sample: Sample) -> float | None:
        """Return the best value that one of the answers reaches as a reply: 0 if none of them has words."""
        return max((compare(sample, answer)[0] for answer in sample.target.answers), default=None)

    return ceiling


# The first is the headline: ours follows the sequence of words, M3D reports ROUGE-1.
_STANDARD = ("rougeL", "rouge1", "rouge2", "rougeLsum")
_M3D = ("rouge1", "rouge2", "rougeL", "rougeLsum")

ROUGE = Family(
    name="rouge",
    line="text",
    suits=frozenset({"text", "grounded_text"}),
    combine=ratio,
    formula="2 P R / (P + R), P = c / reply words, R = c / answer words; c: clipped 1- or 2-gram matches, the longest "
    "common subsequence (L), or its union over lines (Lsum). The best answer counts, for each value on its own.",
    empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
    protocols=(
        Protocol(
            name="standard",
            version=2,
            values=_STANDARD,
            stats=(*_STANDARD, "samples"),
            score=_score(_best_f1(unicode_words, _STANDARD, answer_text)),
            worst=_worst(_STANDARD),
            ceiling=_ceiling(_best_f1(unicode_words, _STANDARD, answer_text)),
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="F1 of the longest common subsequence of Unicode words (CJK by character), reasoning cut, no "
            "stemming; mean over samples.",
            source="Lin, 2004; rouge_score 0.1.2 with another tokenizer",
        ),
        Protocol(
            name="m3d",
            version=1,
            values=_M3D,
            stats=(*_M3D, "samples"),
            score=_score(_best_f1(rouge_tokens, _M3D)),
            worst=_worst(_M3D),
            ceiling=_ceiling(_best_f1(rouge_tokens, _M3D)),
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="F1 of words of a-z and 0-9, no stemming, as M3D's scripts compute it with HF evaluate; other "
            "scripts score 0.",
            source="Bench/eval of M3D, arXiv:2404.00578; rouge of HF evaluate, which is rouge_score",
        ),
        Protocol(
            name="mimo",
            version=1,
            values=("rougeL",),
            stats=("rougeL", "samples"),
            score=_score(_coco),
            worst=miss_if_answered,
            ceiling=_ceiling(_coco),
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="ROUGE-L of the COCO caption code, beta 1.2, on Treebank tokens without punctuation and grounding "
            "tags.",
            formula="(1 + b^2) P R / (R + b^2 P), b = 1.2, P and R of the longest common subsequence, each the best "
            "over the answers.",
            empty=EmptyCases(prediction=0.0, target=0.0, both=1.0),
            source="Lin, 2004; rouge.py of pycocoevalcap 1.2; MIMO names no tool, COCO's is assumed",
        ),
    ),
)

METRICS: tuple[Metric, ...] = ROUGE.rows()
