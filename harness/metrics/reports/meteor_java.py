"""METEOR 1.5: the original program, run as pycocoevalcap runs it, on the tokens of its Penn Treebank tokenizer.

Both programs are Java archives in pycocoevalcap. A corpus starts each of them once, writes all its lines and reads all
the answers, because a start takes seconds. The program returns the counts of a sentence; the formula is written out
here, so that a corpus of any sentences needs no further call.
"""

import importlib.util
import re
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Missing, Outcome, Pair, Resource, Stats
from harness.metrics.ratios import shares
from harness.records import Json, Prediction, Sample
from harness.records.codec import sha256_file
from harness.text.ptb_tokenizer import REMOVED
from harness.text.tokenizers import without_grounding_tags

# Reference sentences and the sentence to be scored, grounding tags removed and blanks collapsed.
Line = tuple[tuple[str, ...], str]

_STAGES = ("exact", "stem", "synonym", "paraphrase")
# The counts of a sentence in the order in which the program writes them, then 1 for the sentence and its own score.
_STATS = (
    "length",
    "reference_length",
    "function_words",
    "reference_function_words",
    *(f"{side}{kind}_{stage}" for stage in _STAGES for kind in ("content", "function") for side in ("", "reference_")),
    "chunks",
    "matches",
    "reference_matches",
    "samples",
    "score",
)

# Tuned to human rankings: Denkowski and Lavie, WMT 2014; the program's defaults for English.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_WEIGHTS = np.asarray([1.0, 0.6, 0.8, 0.6])  # one per stage, in the order of `_STAGES`

_WORD = re.compile(r"\w+(?:[-'./]\w+)*")
# Without it, Java before 18 reads and writes in the encoding of the machine's locale.
_UTF8 = "-Dfile.encoding=UTF-8"
_TOKENIZER = "stanford-corenlp-3.4.1.jar"
_PROGRAM = "meteor-1.5.jar"
_PARAPHRASES = "paraphrase-en.gz"


def combine(counts: Floats) -> Floats:
    """Return METEOR 1.5 of summed counts and the mean over sentences, float64 (..., 25) -> (..., 2).

    Of one sentence both are its score. P and R are matches over words, weighted by stage and by content (0.75) or
    function (0.25) words; F_mean = 1 / (0.15 / P + 0.85 / R), penalty = 0.6 (chunks / mean matches) ** 0.2. Share in
    [0, 1]; 0 where nothing matches, an empty side included; NaN without any sentence.

    Source: Denkowski and Lavie, "Meteor Universal", WMT 2014; `meteor-1.5.jar`, option `-l en`.
    """
    samples, scores = counts[..., 23], counts[..., 24]
    return np.stack([np.where(samples > 0, _formula(counts), np.nan), shares(scores, samples, np.nan)], axis=-1)


def _formula(counts: Floats) -> Floats:
    """Return the score of summed counts, shape (..., 23 or more) -> (...); 0 if nothing matches."""
    staged = counts[..., 4:20].reshape(*counts.shape[:-1], len(_STAGES), 2, 2)  # stage, content or function, side
    weighted = np.einsum("...skp,s,k->...p", staged, _WEIGHTS, np.asarray([_DELTA, 1 - _DELTA]))
    lengths, function_words = counts[..., 0:2], counts[..., 2:4]
    whole = _DELTA * (lengths - function_words) + (1 - _DELTA) * function_words
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(weighted / whole, -1, 0)
        mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        # The two sides may match in different numbers of words: a paraphrase can be two words for one.
        scattered = counts[..., 20] / ((counts[..., 21] + counts[..., 22]) / 2)
        score = mean * (1 - _GAMMA * scattered**_BETA)
    return np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))


def sentence_counts(lines: Sequence[Line]) -> list[Stats]:
    """Return the counts of each line; of several references those of the best. Without lines no program is started.

    Raises:
        DataError: A program failed.
    """
    if not lines:
        return []
    texts = list(dict.fromkeys(text for answers, reply in lines for text in (*answers, reply)))
    # `|||` separates the sentences of a request, so pycocoevalcap takes it out of the texts.
    tokens = {text: line.replace("|||", "") for text, line in zip(texts, treebank_lines(texts), strict=True)}
    asked = [" ||| ".join(("SCORE", *(tokens[text] for text in answers), tokens[reply])) for answers, reply in lines]
    # The heap and the options of pycocoevalcap's meteor.py; the two dashes stand for files, which -stdio replaces.
    words = ["java", _UTF8, "-Xmx2G", "-jar", _PROGRAM, "-", "-", "-stdio", "-l", "en", "-norm"]
    answered = _java(words, _folder("meteor"), asked)
    return [_counts(line) for line in answered]


def _counts(line: str) -> Stats:
    """Return the counts of one sentence; a sentence that matches as a whole has no chunk in place of one.

    The program forgives that one chunk in the sentence's own score and leaves it out when it adds sentences up.

    Raises:
        DataError: The line is not of 23 counts.
    """
    counts = [float(count) for count in line.split()]
    if len(counts) != len(_STATS) - 2:
        raise DataError(f"meteor-1.5: expected {len(_STATS) - 2} counts for a sentence, got {line!r}")
    matched = sum(counts[4:20:2]), sum(counts[5:20:2])
    if counts[20] == 1 and matched == tuple(counts[:2]):
        counts[20] = 0.0
    return (*counts, 1.0, float(_formula(np.asarray(counts))))


def treebank_lines(texts: Sequence[str]) -> list[str]:
    """Return the tokens of each text as pycocoevalcap passes them on, lower case and joined by blanks.

    Args:
        texts: Each without a line break. A text that ends in an abbreviation may take tokens of the next: the
            program searches on for the start of a sentence.
    Raises:
        DataError: The program failed.
    """
    words = ["java", _UTF8, "-cp", _TOKENIZER, "edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    cut = _java(words, _folder("tokenizer"), texts)
    return [" ".join(word for word in line.rstrip(" ").split(" ") if word not in REMOVED) for line in cut]


def _java(words: Sequence[str], folder: Path, lines: Sequence[str]) -> list[str]:
    """Return a program's answers, one per line; the program ends when its input does.

    Raises:
        DataError: It could not be started, ended with an error or answered too few or too many lines.
    """
    text = "".join(f"{line}\n" for line in lines)
    try:
        done = subprocess.run(words, cwd=folder, input=text, capture_output=True, encoding="utf-8", check=False)
    except OSError as error:
        raise DataError(
            f"meteor-1.5: cannot start {words[0]}: {error}; install Java or leave the protocol out"
        ) from error
    answers = done.stdout.removesuffix("\n").split("\n")
    if done.returncode or len(answers) != len(lines):
        said = (done.stderr.strip().splitlines() or ["nothing"])[0]
        raise DataError(
            f"meteor-1.5: expected {len(lines)} lines from {' '.join(words[2:5])}, got {len(answers)} with exit code "
            f"{done.returncode}; it said: {said}"
        )
    return answers


def _line(sample: Sample, prediction: Prediction) -> Line:
    answers = tuple(without_grounding_tags(answer) for answer in sample.target.answers)
    return answers, without_grounding_tags(prediction.text or "")


def prepare(pairs: Iterable[Pair]) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score that looks up counts computed for all `pairs` at once; other pairs are computed one by one.

    Raises:
        DataError: A program failed.
    """
    lines = list(dict.fromkeys(_line(sample, prediction) for sample, prediction in pairs if sample.target.answers))
    known = dict(zip(lines, sentence_counts(lines), strict=True))

    def score(sample: Sample, prediction: Prediction) -> Outcome:
        if not sample.target.answers:
            return Outcome("undefined")
        line = _line(sample, prediction)
        if line not in known:
            known[line] = sentence_counts([line])[0]
        return Outcome("ok", known[line])

    return score


def _score(sample: Sample, prediction: Prediction) -> Outcome:
    """Score one sample; starts both programs, so a corpus goes through `prepare`."""
    return prepare([(sample, prediction)])(sample, prediction)


def _worst(sample: Sample) -> Stats:
    """Return the counts of an empty reply; the reference's words are counted here, without the programs."""
    if not sample.target.answers:
        return (0.0,) * len(_STATS)
    words = _WORD.findall(without_grounding_tags(sample.target.answers[0]).lower())
    function_words = sum(word in _function_words() for word in words)
    return (0.0, float(len(words)), 0.0, float(function_words), *(0.0,) * (len(_STATS) - 6), 1.0, 0.0)


@cache
def _function_words() -> frozenset[str]:
    """Return the program's list for English; an empty set if the program is not installed."""
    try:
        with zipfile.ZipFile(_folder("meteor") / _PROGRAM) as archive:
            return frozenset(archive.read("function/english.words").decode().split())
    except OSError:
        return frozenset()


def _ceiling(sample: Sample) -> float | None:
    """Return the score of repeating an answer: 1, or 0 for answers without a letter or digit."""
    if not sample.target.answers:
        return None
    return 1.0 if any(_WORD.search(without_grounding_tags(answer)) for answer in sample.target.answers) else 0.0


def _folder(part: str) -> Path:
    """Return a folder of pycocoevalcap without importing it; a path that does not exist if it is not installed."""
    found = importlib.util.find_spec("pycocoevalcap")
    package = next(iter(found.submodule_search_locations or ()), "") if found else "pycocoevalcap"
    return Path(package) / part


def missing(_parameters: Mapping[str, Json]) -> Missing | None:
    """Return the first of Java and pycocoevalcap's archives that this machine lacks, or None; nothing is started."""
    if shutil.which("java") is None:
        return Missing("there is no Java on this machine", "install Java 8 or newer (Debian: default-jre-headless)")
    files = (_folder("meteor") / _PROGRAM, _folder("meteor") / "data" / _PARAPHRASES, _folder("tokenizer") / _TOKENIZER)
    for file in files:
        if not file.is_file():
            return Missing(f"{file.name} of pycocoevalcap is not installed", "pip install 'medground[text]'")
    return None


def _describe(_parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    return {} if missing({}) is not None else dict(_programs())


# A digest of 68 MB and a start of Java: once per process is enough.
@cache
def _programs() -> Mapping[str, str]:
    meteor = _folder("meteor")
    digests = {"meteor": meteor / _PROGRAM, "paraphrases": meteor / "data" / _PARAPHRASES}
    return {"version": "1.5", "java": java_version(), **{name: sha256_file(path) for name, path in digests.items()}}


def java_version() -> str:
    """Return the first line that `java -version` says, `unknown` if it says nothing or cannot be started."""
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    # Java says its version on stderr.
    return next(iter((done.stderr or done.stdout).splitlines()), "unknown")


_JAVA = Resource(name="java", missing=missing, describe=_describe)


METEOR_JAVA = Family(
    name="meteor",
    line="text",
    suits=frozenset({"text", "grounded_text"}),
    protocols=(
        Protocol(
            name="meteor-1.5",
            version=1,
            values=("meteor", "sentence_mean"),
            stats=_STATS,
            score=_score,
            combine=combine,
            worst=_worst,
            ceiling=_ceiling,
            prepare=prepare,
            corpus=True,
            resource=_JAVA,
            certificate="An overlap of words: frequent words, several answers and repeated words earn a part.",
            summary="METEOR 1.5 on COCO's tokens as pycocoevalcap prints it for a corpus, and its mean over sentences.",
            formula="1 / (0.15 / P + 0.85 / R) x (1 - 0.6 (chunks / matches)^0.2), from summed counts; matches "
            "weighted 1, 0.6, 0.8, 0.6 as exact, stem, synonym, paraphrase, and 0.75 or 0.25 as content or "
            "function words.",
            empty=EmptyCases(prediction=0.0, target=0.0, both=0.0),
            source="Denkowski and Lavie, WMT 2014; meteor-1.5.jar -l en -norm, as in pycocoevalcap 1.2",
        ),
    ),
)

METRICS: tuple[Metric, ...] = METEOR_JAVA.rows()
