"""The search for the sample that a logged answer belongs to: by id, else by question and image; nothing is guessed."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.errors import listed
from harness.models.submitted.foreign_logs.logged_answer import LoggedAnswer, Row, UnreadRow
from harness.models.submitted.prediction_lines import MOST_MESSAGE, printable
from harness.models.submitted.predictions_file import Problem
from harness.records import Sample

Words = tuple[str, ...]
Way = Literal["id", "question and image", "question alone"]

_WORD = re.compile(r"\w+")
# Characters at the end of a prompt in which the question is looked for; before them are examples.
MOST_PROMPT = 100_000
# Candidates that a message names.
MOST_NAMED = 3


def words_of(text: str) -> Words:
    """Return the words of a text in lower case, without punctuation and space: what two wordings are compared by."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A sample that may have been answered.

    Attributes:
        sample: The sample; its target is not looked at.
        wordings: The question of the release, and the prompts in which the tasks ask it.
        repeats: How often the tasks ask it.
    """

    sample: Sample
    wordings: tuple[str, ...]
    repeats: int = 1

    @property
    def asks(self) -> tuple[object, ...]:
        """What two samples that ask the same of the same image have in common."""
        shown = tuple((media.sha256, media.slice, media.crop) for media in self.sample.media)
        return self.wordings, self.sample.choices, shown, self.sample.visual_prompts


@dataclass(slots=True)
class LogReport:
    """What became of the rows of a log.

    Attributes:
        problems: Rows that are unreadable, unmatched or ambiguous, in the order of the log.
        rows: Number of rows.
        matched: Number of rows by the way in which their sample was found.
        unread, unmatched, ambiguous, repeated: Numbers of the other rows; a repeated row says what another said.
        samples, answered: Number of samples with their repetitions, and of those with an answer.
    """

    problems: list[Problem] = field(default_factory=list)
    rows: int = 0
    matched: Counter[Way] = field(default_factory=Counter)
    unread: int = 0
    unmatched: int = 0
    ambiguous: int = 0
    repeated: int = 0
    samples: int = 0
    answered: int = 0

    @property
    def note(self) -> str:
        """Counts in one line."""
        ways = ", ".join(f"{count:,} by {way}" for way, count in sorted(self.matched.items()))
        words = [f"{self.matched.total():,} of {self.rows:,} rows matched" + (f" ({ways})" if ways else "")]
        others = {
            "unmatched": self.unmatched,
            "ambiguous": self.ambiguous,
            "unreadable": self.unread,
            "saying the same again": self.repeated,
        }
        words += [f"{count:,} {name}" for name, count in others.items() if count]
        if missing := self.samples - self.answered:
            words.append(f"{missing:,} of {self.samples:,} samples have no answer")
        return "; ".join(words)

    def fault(self, row: Row, message: str) -> None:
        """List a row that does not count."""
        where = f"{row.place}: " if row.place else ""
        self.problems.append(
            Problem(line=row.line, sample_id=None, message=printable(f"{where}{message}", MOST_MESSAGE))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The samples that a row answers, and how they were found; else why there are none."""

    samples: tuple[Asked, ...] = ()
    way: Way = "id"
    fault: str = ""
    ambiguous: bool = False


def match(rows: Iterable[Row], asked: Sequence[Asked], report: LogReport) -> list[tuple[str, LoggedAnswer]]:
    """Return sample id and answer for every row whose sample is certain; the others are listed in `report`.

    A full sample id is taken at its word. An id as the release has it counts if the row's words agree; if it is a whole
    number, it must also not look like the number of a row. Else the question decides, and among samples that share it
    the digest of the image. Two rows that answer one sample differently leave it without an answer.

    Args:
        rows: The log.
        asked: Every sample of the tasks, once.
        report: Is filled.
    """
    kept: list[LoggedAnswer] = []
    for row in rows:
        report.rows += 1
        if isinstance(row, UnreadRow):
            report.unread += 1
            report.fault(row, f"{row.message}; the row is not scored")
        else:
            kept.append(row)
    index = _Index(asked, kept)
    claims: dict[tuple[str, int], list[tuple[LoggedAnswer, Way]]] = defaultdict(list)
    for row in kept:
        found = index.find(row)
        if not found.samples:
            report.ambiguous += found.ambiguous
            report.unmatched += not found.ambiguous
            report.fault(row, f"{'ambiguous' if found.ambiguous else 'unmatched'}: {found.fault}")
            continue
        most = max(one.repeats for one in found.samples)
        if row.repeat >= most:
            report.unmatched += 1
            times = "once" if most == 1 else f"{most} times"
            report.fault(row, f"unmatched: is repetition {row.repeat + 1}, and the tasks ask {times}")
            continue
        for one in found.samples:
            claims[(one.sample.id, row.repeat)].append((row, found.way))
    return _settled(claims, report, samples=sum(one.repeats for one in asked))


def _settled(
    claims: dict[tuple[str, int], list[tuple[LoggedAnswer, Way]]], report: LogReport, *, samples: int
) -> list[tuple[str, LoggedAnswer]]:
    """Return the answers that no other row contradicts, and count the rows behind them."""
    answers: list[tuple[str, LoggedAnswer]] = []
    first: dict[int, Way] = {}  # by identity, since one row may answer several samples that ask the same
    again: set[int] = set()
    disputed: dict[int, tuple[LoggedAnswer, str]] = {}
    for (sample_id, _), rows in claims.items():
        if len({(row.text, row.status) for row, _ in rows}) > 1:
            for row, _ in rows:
                others = [_name(other) for other, _ in rows if other is not row]
                words = f"{listed(others, MOST_NAMED)} answer {sample_id} differently; none of them counts"
                disputed.setdefault(id(row), (row, words))
            continue
        answers.append((sample_id, rows[0][0]))
        first.setdefault(id(rows[0][0]), rows[0][1])
        again |= {id(row) for row, _ in rows[1:]}
    for row, words in disputed.values():
        report.ambiguous += 1
        report.fault(row, f"ambiguous: {words}")
    report.matched.update(way for name, way in first.items() if name not in disputed)
    report.repeated += len(again - first.keys() - disputed.keys())
    report.samples, report.answered = samples, len(answers)
    report.problems.sort(key=lambda problem: problem.line)
    return answers


def _name(row: LoggedAnswer) -> str:
    return row.place or f"line {row.line}"


class _Index:
    """The samples by id, by the words of their question and by image, and what the log as a whole says of its ids."""

    def __init__(self, asked: Sequence[Asked], rows: Sequence[LoggedAnswer]) -> None:
        self.by_id = {one.sample.id: one for one in asked}
        self.by_own_id: dict[str, list[Asked]] = defaultdict(list)
        self.by_words: dict[Words, list[Asked]] = defaultdict(list)
        self.digests: set[str] = set()
        for one in asked:
            self.by_own_id[one.sample.id.split("/", 2)[-1]].append(one)
            self.digests |= {media.sha256 for media in one.sample.media if media.sha256}
            for words in dict.fromkeys(map(words_of, one.wordings)):
                if words:
                    self.by_words[words].append(one)
        self.lengths: dict[str, set[int]] = defaultdict(set)  # of the questions that begin with a word
        for words in self.by_words:
            self.lengths[words[0]].add(len(words))
        # Images count if the log has any of ours; else the harness stored them anew, and their bytes say nothing.
        self.has_images = any(not self.digests.isdisjoint(row.images) for row in rows)
        numbers = {int(name) for row in rows for name in row.ids if name.isdecimal() and len(name) < 19}
        # Running numbers are those of rows, which name a sample of ours only by chance.
        self.counts_rows = bool(numbers) and max(numbers) - min(numbers) + 1 <= 2 * len(numbers)

    def find(self, row: LoggedAnswer) -> _Found:
        """Return the samples that a row answers: one, or several that ask the same; none if that is not certain."""
        named = list({name: self.by_id[name] for name in row.ids + row.questions if name in self.by_id}.values())
        if len(named) == 1:
            return _Found(samples=(named[0],))
        if named:
            return _Found(fault=f"it names {listed([one.sample.id for one in named], MOST_NAMED)}", ambiguous=True)
        candidates = self._of_its_question(row)
        own = {
            one.sample.id: one
            for name in row.ids
            if not (name.isdecimal() and self.counts_rows)
            for one in self.by_own_id.get(name, ())
        }
        agreeing = [
            one
            for one in own.values()
            if self._shows(row, one)
            and (
                any(one is other for other in candidates)
                # Without a question to compare, an id that is more than a number has to do.
                or (not row.questions and not row.prompt and not any(name.isdecimal() for name in row.ids))
            )
        ]
        if len(agreeing) == 1:
            return _Found(samples=(agreeing[0],))
        said = f"id {row.ids[0]!r:.80}" if row.ids else "no id"
        if not candidates:
            return _Found(fault=f"{said}, and no sample asks its question{_quoted(row)}")
        shown = [one for one in candidates if self._shows(row, one)]
        if not shown:
            return _Found(fault=f"{said}, and no sample asks its question{_quoted(row)} of its image")
        if len({one.asks for one in shown}) == 1:
            known = self.has_images and bool(row.images) and any(one.sample.media for one in shown)
            return _Found(samples=tuple(shown), way="question and image" if known else "question alone")
        alone = not (self.has_images and row.images) and any(one.sample.media for one in shown)
        why = "the row holds no image that would tell them apart" if alone else "nothing in the row tells them apart"
        names = listed([one.sample.id for one in shown], MOST_NAMED)
        return _Found(
            fault=f"{said}, and {len(shown):,} samples ask its question{_quoted(row)}: {names}; {why}",
            ambiguous=True,
        )

    def _shows(self, row: LoggedAnswer, one: Asked) -> bool:
        """Return whether the images of a row are those of a sample, as far as the row has any that can be compared."""
        if not (self.has_images and row.images) or not one.sample.media:
            return True
        return not {media.sha256 for media in one.sample.media}.isdisjoint(row.images)

    def _of_its_question(self, row: LoggedAnswer) -> list[Asked]:
        """Return the samples that ask the question of a row: one of its texts as a whole, else words of its prompt."""
        exact = {one.sample.id: one for text in row.questions for one in self.by_words.get(words_of(text), ())}
        if exact:
            return list(exact.values())
        words = words_of(row.prompt[-MOST_PROMPT:])
        spans = [
            (length, start)
            for start, word in enumerate(words)
            for length in self.lengths.get(word, ())
            if words[start : start + length] in self.by_words
        ]
        found: dict[str, Asked] = {}
        covered: list[tuple[int, int]] = []
        for length, start in sorted(spans, reverse=True):  # a question within a longer one was not asked
            if not any(low <= start and start + length <= high for low, high in covered):
                covered.append((start, start + length))
                found |= {one.sample.id: one for one in self.by_words[words[start : start + length]]}
        return list(found.values())


def _quoted(row: LoggedAnswer) -> str:
    text = row.questions[0] if row.questions else row.prompt
    return f" {' '.join(text.split())!r:.100}" if text.strip() else ""
