"""Human review of a construction: the sample that people see, and the labels that they give back."""

import heapq
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.construction.outputs.splits import order_of
from harness.errors import SpecError

REVIEW_STEP = "human_review"
VERDICTS = ("keep", "reject")


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What a person says of an item."""

    item: str
    keep: bool
    note: str = ""


def read_labels(path: Path) -> dict[str, Label]:
    """Return the labels in a file of JSON lines `{"item", "label": "keep"|"reject", "note"}`; none if it is absent.

    Of two labels of one item the last counts: a page that is opened again may correct an earlier one.

    Raises:
        SpecError: A line has another form.
    """
    found: dict[str, Label] = {}
    if not path.is_file():
        return found
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            if value["label"] not in VERDICTS:
                raise ValueError(f"label {value['label']!r}")
            item = str(value["item"])
            found[item] = Label(item=item, keep=value["label"] == "keep", note=str(value.get("note") or ""))
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f'{path}:{number}: expected {{"item": ..., "label": "keep" or "reject", "note": ...}}, found '
                f"{type(error).__name__}: {error}; download the labels from the page again"
            ) from error
    return found


def review_sample(lines: Iterable[Mapping[str, Any]], number: int, seed: int) -> list[Mapping[str, Any]]:
    """Return the lines of `pedigree.jsonl` that people review, in the order of the release.

    As many of each kind as of any other, where there are enough: by the smallest sha256 of seed and item, so that a
    larger sample holds a smaller one.

    Args:
        lines: All lines.
        number: Size of the sample.
        seed: Seed of the choice.
    """
    kept: dict[str, list[tuple[bytes, int, Mapping[str, Any]]]] = {}
    for place, line in enumerate(lines):
        best = kept.setdefault(str(line["record"]["kind"]), [])
        # Inverted digests, since the heap has the smallest at its front, and that is the one to be replaced.
        rank = bytes(255 - byte for byte in order_of(seed, str(line["item"])))
        if len(best) < number:
            heapq.heappush(best, (rank, place, line))
        elif rank > best[0][0]:
            heapq.heapreplace(best, (rank, place, line))
    queues = {kind: sorted(best, reverse=True, key=lambda one: one[0]) for kind, best in sorted(kept.items())}
    chosen: list[tuple[bytes, int, Mapping[str, Any]]] = []
    while len(chosen) < number and any(queues.values()):
        for queue in queues.values():
            if queue and len(chosen) < number:
                chosen.append(queue.pop(0))
    return [line for _, _, line in sorted(chosen, key=lambda one: one[1])]
