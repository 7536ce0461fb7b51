"""Labels of people, and judgements of other tools, from CSV or JSON lines; every fault is named with its line."""

import csv
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.errors import DataError, nearest, together
from harness.metrics.answers.judge_replies import VERDICTS
from harness.text.judgement import BEST

Kind = Literal["verdict", "score"]
# Worst first, so that a verdict's place in its list orders it. Of two answers, `win` is for that of the judged run.
GRADES = tuple(reversed(VERDICTS))
OUTCOMES = ("loss", "tie", "win")
WORDS = (*GRADES, *OUTCOMES)
# Bounds of the scores that the rubric `correctness` asks for with each verdict.
LEAST_PARTLY, LEAST_CORRECT = 10.0, 90.0
LARGEST_FILE = 2**28
FAULTS_SHOWN = 20
LABEL_KEYS = ("label", "verdict", "score")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What one rater said of one answer.

    Attributes:
        sample_id: The sample of the answer.
        task: Its task; empty if the file names none.
        repeat: 0-based number of the model's answer to it.
        rater: Name of the rater; empty if the file names none.
        order: Of a pair, the place of this run's answer: `first` or `second`; else empty.
        verdict: One of `WORDS`; empty for a score.
        score: 0 to 100; None for a verdict.
        length: Length of the answer in characters; None if the file does not say it.
        cluster: The patient; empty if the file names none.
        line: 1-based line of the file.
    """

    sample_id: str
    task: str = ""
    repeat: int = 0
    rater: str = ""
    order: str = ""
    verdict: str = ""
    score: float | None = None
    length: int | None = None
    cluster: str = ""
    line: int = 0

    @property
    def points(self) -> float:
        """The label on the scale from 0 to 100: the middle verdict is 50."""
        return self.score if self.score is not None else BEST / 2 * rank_of(self.verdict)


def rank_of(verdict: str) -> int:
    """Return the place of a verdict among its kind: 0 the worst, 2 the best."""
    return (GRADES if verdict in GRADES else OUTCOMES).index(verdict)


def grade_of(score: float) -> str:
    """Return the verdict that a score from 0 to 100 stands for, by the bounds of the rubric `correctness`."""
    return GRADES[(score >= LEAST_PARTLY) + (score >= LEAST_CORRECT)]


def read_labels(path: Path, *, judge: bool = False) -> list[Label]:
    """Return the lines of a file of labels, all verdicts or all scores.

    A line holds `sample_id` and `label`, a verdict or a score from 0 to 100 (`verdict` and `score` name the same), and
    may hold `rater`, `task`, `repeat`, `cluster` and `length`. CSV has these names in its first line. Other columns are
    ignored, unless they look like a misspelt one of these.

    Args:
        path: `.csv`, or JSON lines under any other name.
        judge: These are judgements: a line may hold a verdict and a score, and `order`, and no rater.
    Raises:
        DataError: The file cannot be read, or holds nothing, or lines are wrong; each is named with what was expected.
    """
    known = ("sample_id", "task", "repeat", "cluster", "length", *LABEL_KEYS, *(("order",) if judge else ("rater",)))
    faults: list[str] = []
    labels: list[Label] = []
    first: dict[tuple[str, str, int, str, str], int] = {}
    for line, row in _rows(path, known, faults):
        found = [0]

        def fault(message: str, line: int = line, found: list[int] = found) -> None:
            found[0] += 1
            faults.append(f"{path}:{line}: {message}")

        label = _label(row, line, judge, fault)
        if found[0]:
            continue
        key = (label.sample_id, label.task, label.repeat, label.rater, label.order)
        if key in first:
            remedy = "" if judge or label.rater else "; several raters of one sample need the column 'rater'"
            who = f" by rater '{label.rater}'" if label.rater else ""
            fault(f"'{label.sample_id}'{who} is labelled in line {first[key]} already{remedy}")
            continue
        first[key] = line
        labels.append(label)
    kinds = {_kind(label): label.line for label in reversed(labels)}
    if not judge and len(kinds) > 1:
        (one, at), (other, second) = sorted(kinds.items(), key=lambda item: item[1])
        faults.append(f"{path}:{second}: expected {one}, as in line {at}, found {other}; use one kind for all labels")
    scores = [label for label in labels if label.score is not None]
    if scores and 0 < max(label.score or 0.0 for label in scores) <= 1:
        faults.append(f"{path}:{scores[0].line}: no score is above 1; expected scores from 0 to 100, or verdicts")
    if faults:
        more = len(faults) - FAULTS_SHOWN
        raise together([*faults[:FAULTS_SHOWN], *([f"{path}: {more} more faults"] if more > 0 else [])], DataError)
    if not labels:
        raise DataError(f"{path}: holds no label; expected one line per answer with sample_id and label")
    return labels


def _kind(label: Label) -> str:
    if label.score is not None:
        return "a score from 0 to 100"
    return f"one of {', '.join(GRADES if label.verdict in GRADES else OUTCOMES)}"


def _rows(path: Path, known: Sequence[str], faults: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line, row) of a file; what a CSV leaves empty is absent."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise DataError(f"{path}: is larger than {LARGEST_FILE:,} bytes; expected labels, one per line")
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets begin their CSV with a mark of byte order
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected labels as CSV or JSON lines") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    if path.suffix.lower() == ".csv":
        table = csv.reader(text.splitlines(keepends=True), strict=True)
        try:
            header = [name.strip() for name in next(table, [])]
            for name in header:
                if fault := _name_fault(name, known, twice=header.count(name) > 1):
                    raise DataError(f"{path}:1: {fault}")
            if "sample_id" not in header or not any(key in header for key in LABEL_KEYS):
                held = ", ".join(header) or "nothing"
                raise DataError(f"{path}:1: expected the columns sample_id and label, found {held}")
            for cells in table:
                if len(cells) > len(header):
                    faults.append(f"{path}:{table.line_num}: expected {len(header)} cells, found {len(cells)}")
                elif any(cell.strip() for cell in cells):
                    named = zip(header, cells, strict=False)  # trailing cells may be left out
                    yield table.line_num, {name: cell.strip() for name, cell in named if cell.strip()}
        except csv.Error as error:
            raise DataError(f"{path}:{table.line_num}: expected CSV: {error}") from error
        return
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            faults.append(f"{path}:{number}: expected a JSON object, found {line.strip()[:60]!r} ({error})")
            continue
        if not isinstance(row, dict):
            faults.append(f"{path}:{number}: expected a JSON object, found {line.strip()[:60]!r}")
        elif wrong := [fault for name in row if (fault := _name_fault(name, known))]:
            faults.append(f"{path}:{number}: {wrong[0]}")
        else:
            yield number, {name: value for name, value in row.items() if value is not None}


def _name_fault(name: str, known: Sequence[str], *, twice: bool = False) -> str | None:
    if name in known:
        return f"'{name}' stands there twice" if twice else None
    hint = nearest(name, known)
    return f"unknown name '{name}'{hint}; expected {', '.join(known)}" if hint else None


def _label(row: Mapping[str, Any], line: int, judge: bool, fault: Callable[[str], None]) -> Label:
    """Return the label of a row; each fault of it is noted, and the label must not be used then."""

    def text(key: str) -> str:
        value = row.get(key, "")
        if not isinstance(value, str | int) or isinstance(value, bool):
            fault(f"{key}: expected text, found {value!r:.60}")
            return ""
        return str(value)

    def count(key: str) -> int | None:
        value = row.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
            value = int(value)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            fault(f"{key}: expected a whole number of at least 0, found {value!r:.60}")
            return None
        return value

    sample_id = text("sample_id")
    if not sample_id:
        fault("sample_id: required")
    given = [key for key in LABEL_KEYS if key in row]
    if not given or (len(given) > 1 and not (judge and "label" not in given)):
        either = "a verdict, a score or both" if judge else "one label"
        fault(f"expected {either}, found {' and '.join(given) or 'none'}")
    verdict, score = "", None
    for key in given:
        number = _number(row[key])
        if number is not None and key != "verdict":
            score = number
            if not 0 <= number <= BEST:
                fault(f"{key}: expected a score from 0 to 100, found {row[key]!r:.60}")
        elif isinstance(row[key], str) and row[key].strip().lower() in WORDS and key != "score":
            verdict = row[key].strip().lower()
        else:
            expected = {"score": "a score from 0 to 100", "verdict": f"one of {', '.join(WORDS)}"}
            wanted = expected.get(key) or f"a score from 0 to 100 or one of {', '.join(WORDS)}"
            hint = nearest(row[key].lower(), WORDS) if isinstance(row[key], str) and key != "score" else ""
            fault(f"{key}: expected {wanted}, found {row[key]!r:.60}{hint}")
    order = text("order")
    if order not in ("", "first", "second"):
        fault(f"order: expected first or second, found '{order:.60}'")
    return Label(
        sample_id=sample_id,
        task=text("task"),
        repeat=count("repeat") or 0,
        rater=text("rater"),
        order=order,
        verdict=verdict,
        score=score,
        length=count("length"),
        cluster=text("cluster"),
        line=line,
    )


def _number(value: Any) -> float | None:
    """Return a finite number, from JSON or as text of a CSV; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
