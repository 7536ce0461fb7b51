"""BLEU, ROUGE and METEOR of report pairs: ours in two processes against a plain loop over nltk and rouge-score.

Both start warm (libraries and WordNet loaded, workers up) and score the same generated reports under M3D's rules,
without its sentence splitter; without WordNet on this machine, METEOR matches stems alone on both sides. Values have to
be equal to 1e-9. The plain loop needs sacrebleu too (extra `dev`).

    python benchmarks/text_metrics.py [--pairs 10000] [--processes 2]
"""

import argparse
import multiprocessing
import random
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

from harness.metrics.metric import Metric, sample_values
from harness.metrics.reports import bleu, meteor, rouge
from harness.paths import default_cache
from harness.records import Prediction, Sample, Target
from harness.text import wordnet

TARGET = 1.5
# Far above what the order of additions changes (2e-16 was seen), far below a word counted differently.
TOLERANCE = 1e-9
CHUNK = 250
METRICS = ("bleu", "rouge", "meteor")
# In the order of the values of our row under `m3d`, which are compared one by one.
ROUGE_NAMES = ("rouge1", "rouge2", "rougeL", "rougeLsum")
# As in radiology reports, the same words recur; our metrics stem each word and look it up only once.
SENTENCES = (
    "There is a {size} cm {shape} {finding} in the {side} {organ}.",
    "The {organ} is {state} in size and attenuation, without focal {finding}.",
    "No {finding} or pleural effusion is seen on the {side}.",
    "The {organ} shows {state} enhancement in the {phase} phase.",
    "Compared with the prior study, the {finding} measures {size} x {size} cm (previously {size} cm).",
    "Mild degenerative changes of the spine; the {organ} appears {state}.",
    "A well-defined, {shape} {finding} abuts the {organ}.",
)
WORDS = {
    "shape": ("round", "oval", "lobulated", "irregular", "spiculated", "cystic"),
    "finding": ("lesion", "nodule", "mass", "cyst", "calcification", "opacity", "abscess", "thrombus"),
    "side": ("left", "right"),
    "organ": ("liver", "spleen", "kidney", "pancreas", "lower lobe", "adrenal gland", "aorta", "gallbladder"),
    "state": ("normal", "unremarkable", "heterogeneous", "enlarged", "mildly increased", "preserved"),
    "phase": ("arterial", "portal venous", "delayed"),
}

Pair = tuple[str, str]
Values = list[tuple[float, ...]]


def sentence(generator: random.Random) -> str:
    """Return one sentence of a made-up report."""
    chosen = {name: generator.choice(words) for name, words in WORDS.items()}
    return generator.choice(SENTENCES).format(size=f"{generator.uniform(0.3, 9):.1f}", **chosen)


def report_pairs(count: int) -> list[Pair]:
    """Return pairs (prediction, reference) that share some of their sentences, in another order."""
    generator = random.Random(0)
    pairs = []
    for _ in range(count):
        reference = [sentence(generator) for _ in range(generator.randint(3, 8))]
        prediction = [line if generator.random() < 0.4 else sentence(generator) for line in reference]
        generator.shuffle(prediction)
        pairs.append((" ".join(prediction[: generator.randint(2, 8)]), " ".join(reference)))
    return pairs


@cache
def has_word_net() -> bool:
    """Return whether METEOR can use synonyms here."""
    return wordnet.find(default_cache()) is not None


class NoSynonyms:
    """A word net that knows no word."""

    def synsets(self, _word: str, _pos: Any = None) -> list[Any]:
        """Return no synonyms."""
        return []


@cache
def nltk_word_net() -> Any:
    """Return the WordNet reader for nltk's METEOR, the same as ours: two versions of WordNet give two values."""
    place = wordnet.find(default_cache())
    return NoSynonyms() if place is None else wordnet.open_word_net(place).reader


def plain_bleu(pairs: Sequence[Pair]) -> Values:
    """Return BLEU-1 to BLEU-4 by nltk, on sacrebleu's 13a tokens, as nltk has no 13a tokenizer."""
    from nltk.translate.bleu_score import sentence_bleu
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    cut = Tokenizer13a()
    weights = [[1 / order] * order for order in bleu.ORDERS]
    # nltk warns for every pair without a common n-gram of some order.
    with warnings.catch_warnings(action="ignore"):
        return [
            tuple(map(float, sentence_bleu([cut(reference).split()], cut(prediction).split(), weights)))
            for prediction, reference in pairs
        ]


def plain_rouge(pairs: Sequence[Pair]) -> Values:
    """Return F1 of ROUGE-1, 2, L and Lsum by rouge_score."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(ROUGE_NAMES)
    scores = (scorer.score(reference, prediction) for prediction, reference in pairs)
    return [tuple(score[name].fmeasure for name in ROUGE_NAMES) for score in scores]


def plain_meteor(pairs: Sequence[Pair]) -> Values:
    """Return METEOR by nltk."""
    from nltk import word_tokenize
    from nltk.translate.meteor_score import meteor_score

    def words(text: str) -> list[str]:
        found: list[str] = word_tokenize(text, preserve_line=True)
        return found

    return [
        (float(meteor_score([words(reference)], words(prediction), wordnet=nltk_word_net())),)
        for prediction, reference in pairs
    ]


PLAIN: dict[str, Callable[[Sequence[Pair]], Values]] = {
    "bleu": plain_bleu,
    "rouge": plain_rouge,
    "meteor": plain_meteor,
}


def row(name: str) -> Metric:
    """Return our row whose values the plain loop computes."""
    # nltk's METEOR with a word net that knows no word is `nltk-stem`.
    protocol = {"bleu": "m3d", "rouge": "m3d", "meteor": "nltk" if has_word_net() else "nltk-stem"}[name]
    rows = (*bleu.METRICS, *rouge.METRICS, *meteor.METRICS)
    return next(metric for metric in rows if (metric.name, metric.protocol) == (name, protocol))


def ours(name: str, pairs: Sequence[Pair]) -> Values:
    """Return our row's values of every pair."""
    metric = row(name)
    values = []
    for number, (prediction, reference) in enumerate(pairs):
        sample = Sample(id=str(number), target=Target(answers=(reference,)))
        outcome = metric.score(sample, Prediction(key="", status="ok", text=prediction))
        values.append(tuple(value or 0.0 for value in sample_values(metric, outcome.stats)))
    return values


def in_processes(pool: ProcessPoolExecutor, name: str, pairs: Sequence[Pair]) -> Values:
    """Return the same values as `ours`, computed by the pool."""
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    return [values for part in pool.map(ours, [name] * len(chunks), chunks) for values in part]


def warm_up() -> None:
    """Load the libraries and WordNet that the metrics need, before any time is taken."""
    for name in METRICS:
        ours(name, [("the lesion", "a mass")])


def timed(work: Callable[[], Values]) -> tuple[float, Values]:
    """Return the seconds that `work` takes, and what it returns."""
    began = time.perf_counter()
    values = work()
    return time.perf_counter() - began, values


def furthest(left: Values, right: Values) -> float:
    """Return the largest absolute difference of values that should be equal."""
    return max(abs(a - b) for one, other in zip(left, right, strict=True) for a, b in zip(one, other, strict=True))


def main() -> None:
    """Time both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    pairs = report_pairs(arguments.pairs)
    # The plain loop starts warm as well.
    for work in PLAIN.values():
        work(pairs[:1])
    totals = [0.0, 0.0]
    print(f"{len(pairs)} pairs, {arguments.processes} processes, {'WordNet' if has_word_net() else 'no WordNet'}")
    print(f"{'metric':<10}{'plain s':>10}{'ours s':>10}{'ratio':>8}  furthest apart")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.processes, mp_context=context, initializer=warm_up) as pool:
        # The pool starts its workers with the first chunks they get; this is not timed.
        in_processes(pool, "bleu", pairs[: 2 * CHUNK])
        for name in METRICS:
            our_seconds, found = timed(lambda name=name: in_processes(pool, name, pairs))
            plain_seconds, expected = timed(lambda name=name: PLAIN[name](pairs))
            apart = furthest(found, expected)
            equal = "equal" if apart <= TOLERANCE else "NOT EQUAL"
            totals[0] += plain_seconds
            totals[1] += our_seconds
            ratio = plain_seconds / our_seconds
            print(f"{name:<10}{plain_seconds:>10.2f}{our_seconds:>10.2f}{ratio:>8.1f}  {apart:.1e} {equal}")
    ratio = totals[0] / totals[1]
    met = "met" if ratio >= TARGET else "MISSED"
    print(f"{'all':<10}{totals[0]:>10.2f}{totals[1]:>10.2f}{ratio:>8.1f}  target {TARGET}: {met}")


if __name__ == "__main__":
    main()
