"""Panels: several judges whose judgements of one answer become one."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from harness.errors import DataError, SpecError
from harness.evaluation.judging.rubrics import Rubric
from harness.metrics.answers.judge_replies import REPLY_FORMS
from harness.records.codec import digest
from harness.records.judgement import judge_protocol
from harness.runs.file_checks import FileChecks
from harness.runs.judgements import FOLDER, PANELS

RULES = ("mean", "majority")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Several judges of one rubric.

    Attributes:
        rubric: Name of the rubric.
        rule: `mean` of the values; or `majority`: the verdict of more than half of those that judged, with the mean of
            their values.
        quorum: Judges that must have judged an answer; else it is unjudged.
        members: The columns of the judges.
    """

    rubric: str
    rule: str
    quorum: int
    members: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: str, quorum: int | None, rubric: Rubric, judges: int) -> "Panel":
        """Return a panel, its members still unknown.

        Raises:
            SpecError: The rule does not exist or does not suit the rubric, or the quorum cannot be reached.
        """
        if rule not in RULES:
            raise SpecError(f"--panel {rule}: expected {' or '.join(RULES)}")
        if rule == "majority" and not REPLY_FORMS[rubric.reply].verdicts:
            raise SpecError(f"--panel majority: judges vote by verdict, and rubric {rubric.name} has none; use mean")
        least = judges // 2 + 1 if quorum is None else quorum
        if not 1 <= least <= judges:
            raise SpecError(f"--quorum {least}: expected a number from 1 to {judges}, the number of judges")
        return cls(rubric=rubric.name, rule=rule, quorum=least)

    @property
    def protocol(self) -> str:
        """Name of the panel's column."""
        return judge_protocol(self.rubric, f"panel-{self.rule}", digest([self.quorum, *sorted(self.members)]))

    def join(self, votes: Sequence[tuple[float, str]]) -> tuple[float | None, str, str]:
        """Return value, verdict and reason of the panel for one answer.

        Args:
            votes: (value, verdict) of each judge that judged it.
        Returns:
            The value is None, and the reason says why, without a quorum or a majority.
        """
        if len(votes) < self.quorum:
            return None, "", f"{len(votes)} of {len(self.members)} judges judged it; the quorum is {self.quorum}"
        if self.rule == "mean":
            return fsum(value for value, _ in votes) / len(votes), "", ""
        verdict, count = Counter(word for _, word in votes).most_common(1)[0]
        if 2 * count <= len(votes):
            words = ", ".join(sorted(word for _, word in votes))
            return None, "", f"no verdict has more than half of the votes: {words}"
        agreeing = [value for value, word in votes if word == verdict]
        return fsum(agreeing) / len(agreeing), verdict, ""


def add_panel(run_dir: Path, panel: Panel) -> None:
    """Store a panel; one with the same column is replaced.

    Raises:
        InterruptedRunError: The disk refuses it.
    """
    panels = [*(one for one in read_panels(run_dir) if one.protocol != panel.protocol), panel]
    content = [
        {"rubric": one.rubric, "rule": one.rule, "quorum": one.quorum, "members": list(one.members)} for one in panels
    ]
    FileChecks(run_dir).replace(run_dir / FOLDER / PANELS, json.dumps(content, indent=1) + "\n")


def read_panels(run_dir: Path) -> list[Panel]:
    """Return the panels of a run; none if it has none.

    Raises:
        DataError: The file is damaged.
    """
    path = run_dir / FOLDER / PANELS
    FileChecks(run_dir).check(path, "delete it, then run the same `harness judge` command again")
    if not path.is_file():
        return []
    try:
        content: list[Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [Panel(**{**one, "members": tuple(one["members"])}) for one in content]
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: expected a list of panels ({type(error).__name__}: {error}); delete it, then run the same "
            "`harness judge` command again"
        ) from error
