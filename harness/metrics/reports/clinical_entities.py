"""Clinical entity F1: which names of a term list a report shares with its reference."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from harness.errors import DataError
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Missing, Outcome, Parameter, Resource, Stats
from harness.metrics.ratios import f1_precision_recall
from harness.records import Json, Prediction, Sample
from harness.records.codec import sha256_file
from harness.text.normalisers import words
from harness.text.reply import answer_text

OUR_TERMS = Path(__file__).with_name("clinical_terms.txt")
_SIDES = frozenset({"left", "right"})
_BETWEEN_WORDS = re.compile(r"[\W_]+")
Phrase = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """A term list, prepared for finding its terms in texts.

    Attributes:
        names: Phrase -> the entity that it names, spelt as where the list names it first. For phrases see `_phrase`.
        longest: First word -> lengths in words of the phrases that begin with it, longest first.
    """

    names: Mapping[Phrase, str]
    longest: Mapping[str, tuple[int, ...]]

    def entities(self, text: str) -> frozenset[str]:
        """Return the entities that `text` names, each once; of overlapping phrases the first and longest."""
        phrase, found, at = _phrase(text), set(), 0
        while at < len(phrase):
            lengths = (length for length in self.longest.get(phrase[at], ()) if phrase[at : at + length] in self.names)
            length = next(lengths, 0)
            if length:
                found.add(self.names[phrase[at : at + length]])
            at += length or 1
        return frozenset(found)


def _phrase(text: str) -> Phrase:
    """Return the words of `text` as protocol `standard` normalises them, cut at hyphens too, in the singular."""
    return tuple(_singular(part) for word in words(text) for part in _BETWEEN_WORDS.split(word) if part)


def _singular(word: str) -> str:
    """Return `word` without a plural ending: -ies, -es after a sibilant, -s or -ae.

    A wrong singular ("lens" becomes "len") does no harm: terms and texts go through the same rule.
    """
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "zes", "ches", "shes")):
        return word[:-2]
    if word.endswith("ae") and len(word) > 3:
        return word[:-1]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 2 else word


@cache
def read_terms(path: Path) -> Lexicon:
    """Return the terms of a file: one per line, UTF-8; blank lines and lines that begin with # are left out.

    A term that ends in left or right ("kidney left") and the same term with the side in front name one entity.

    Raises:
        DataError: The file cannot be read, or holds no term.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a term list, one term a line in UTF-8, got {error}") from error
    names: dict[Phrase, str] = {}
    for line in lines:
        if not line.startswith("#") and (phrase := _phrase(line)):
            sided = len(phrase) > 1 and phrase[-1] in _SIDES
            # Class lists write "kidney left", reports "left kidney": both spellings get the name that came first.
            name = names.setdefault((phrase[-1], *phrase[:-1]) if sided else phrase, line.strip())
            names.setdefault(phrase, name)
    if not names:
        raise DataError(f"{path}: expected a term list, one term a line, found no term")
    lengths: dict[str, set[int]] = {}
    for phrase in names:
        lengths.setdefault(phrase[0], set()).add(len(phrase))
    return Lexicon(names, {word: tuple(sorted(found, reverse=True)) for word, found in lengths.items()})


def _file(terms: str) -> Path:
    """Return the file of the parameter `terms`."""
    # Absolute, because it keys caches that outlive a change of the working folder.
    return Path(terms).resolve() if terms else OUR_TERMS


# Cached, because `_score`, `_worst` and `_ceiling` read the same answers.
@lru_cache(maxsize=1 << 12)
def _entities(text: str, path: Path) -> frozenset[str]:
    return read_terms(path).entities(answer_text(text))


def _score(sample: Sample, prediction: Prediction, *, terms: str = "") -> Outcome:
    """Count the entities that the reply shares with the first answer; undefined if neither names any."""
    if not sample.target.answers:
        return Outcome("undefined")
    found = _entities(prediction.text or "", _file(terms))
    wanted = _entities(sample.target.answers[0], _file(terms))
    if not found and not wanted:
        return Outcome("undefined")
    detail = {"shared": sorted(found & wanted), "missed": sorted(wanted - found), "added": sorted(found - wanted)}
    return Outcome("ok", (float(len(found & wanted)), float(len(found)), float(len(wanted))), detail)


def _combine(sums: Floats) -> Floats:
    """Return F1 = 2 shared / (found + wanted), precision and recall of counts, shape (..., 3) -> (..., 3).

    A share of nothing is 0; if nothing is found and nothing wanted all three are NaN.
    """
    return f1_precision_recall(sums[..., 0], sums[..., 1], sums[..., 2])


def _worst(sample: Sample, *, terms: str = "") -> Stats:
    """Return the stats of a reply that is worth 0; undefined without an answer to compare with."""
    if not sample.target.answers:
        return (0.0, 0.0, 0.0)
    # At least 1: a failed prediction counts as 0 even if the answer names nothing, like a reply that names something.
    return (0.0, 0.0, float(max(len(_entities(sample.target.answers[0], _file(terms))), 1)))


def _ceiling(sample: Sample, *, terms: str = "") -> float | None:
    """Return 1; None if the first answer names nothing, because repeating it then has no value."""
    return 1.0 if sample.target.answers and _entities(sample.target.answers[0], _file(terms)) else None


def _missing(parameters: Mapping[str, Json]) -> Missing | None:
    try:
        read_terms(_file(str(parameters.get("terms", ""))))
    except DataError as error:
        return Missing(str(error), "set the parameter terms to a file with one term a line, or leave it out")
    return None


def _describe(parameters: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the list's name, the number of its entities and its digest; nothing if it cannot be read."""
    if _missing(parameters) is not None:
        return {}
    path = _file(str(parameters.get("terms", "")))
    return {"terms": path.name, "entities": len(set(read_terms(path).names.values())), "digest": sha256_file(path)}


CLINICAL_ENTITY_F1 = Family(
    name="clinical_entity_f1",
    values=("f1", "precision", "recall"),
    stats=("shared", "found", "wanted"),
    line="text",
    suits=frozenset({"text"}),
    combine=_combine,
    protocols=(
        Protocol(
            name="standard",
            version=3,
            score=_score,
            worst=_worst,
            ceiling=_ceiling,
            parameters=(
                Parameter(
                    name="terms",
                    default="",
                    summary="A file of one's own with one term a line; empty: the class names of M3D-Seg.",
                ),
            ),
            resource=Resource(name="term list", missing=_missing, describe=_describe),
            caveat="Counts names as words: a name that the report denies counts like one that it affirms.",
            certificate="A list of frequent names earns a part, and a reply that names nothing has no value where the "
            "answer names nothing.",
            summary="Names of a term list that reply, reasoning cut, and reference share, each counted once a report.",
            formula="c = entities that both texts name; precision = c / those of the reply, recall = c / those of the "
            "first answer, F1 = 2 c / (both).",
            empty=EmptyCases(
                prediction=0.0, target=0.0, both="undefined", note="Empty: a text that names no entity of the list."
            ),
            source="ours; entity F1 as in Miura et al., arXiv:2010.10042, with a term list in place of a tagger",
        ),
    ),
)

METRICS: tuple[Metric, ...] = CLINICAL_ENTITY_F1.rows()
