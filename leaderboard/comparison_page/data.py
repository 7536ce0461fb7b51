"""The script files from which the page compares models: samples of a task once, and one value per sample and model.

A browser refuses to read files beside a page that was opened from the file system, but runs scripts from there; so each
file is a call, `medgroundCompare("NAME", CONTENT);`, in ASCII. Values are exact: whole numbers as they are, others as
the bytes of their float64. Names from outside are elements of lists and never keys of objects.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.comparison.scored_run import ScoreColumns
from harness.errors import DataError
from leaderboard.entry_file import BoardEntry, EntryBlock
from leaderboard.entry_parts.scores import read_scores, score_path
from leaderboard.site.places import COMPARED_SAMPLES, COMPARED_SCORES, slug

# A browser reads a megabyte of samples in an instant; tasks with more samples are compared by `harness compare`.
MOST_SAMPLES = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedHeadline:
    """The headline of a task on one version of its data, which every model has that is compared by it.

    Attributes:
        over: Stratum key of a macro mean; None for a mean over samples.
        pooled: Whether the number is computed from sums or rankings of all samples, which the page does not have; it
            then compares the values of the samples.
    """

    data: str
    place: str
    basis: tuple[str, ...]
    metric: str
    protocol: str
    name: str
    higher_is_better: bool
    over: str | None
    pooled: bool


@dataclass(slots=True)
class ComparedData:
    """What the files hold, filled while they are made.

    Attributes:
        models: Entries with scores, each with its tasks: place of the headline, files of samples and scores.
        headlines: Headline -> the strata (key, value) that results.json has beside it; in the order of their places.
        too_large: Tasks with too many samples for the page.
    """

    models: list[tuple[BoardEntry, list[tuple[int, str, str]]]] = field(default_factory=list)
    headlines: dict[ComparedHeadline, list[tuple[str, str]]] = field(default_factory=dict)
    too_large: set[str] = field(default_factory=set)


def headline_of(entry: BoardEntry, block: EntryBlock) -> ComparedHeadline | None:
    """Return the headline of a task; None for a group, and for a task whose headline was not scored."""
    if block.headline is None:
        return None
    rows = [it for it in block.numbers if it.stratum is None and (it.metric, it.protocol) == block.headline]
    wanted = [it for it in rows if block.headline_mean in (None, it.mean)]
    if not wanted:
        return None
    number = wanted[0]
    version = () if number.protocol_version is None else (f"protocol version {number.protocol_version}",)
    return ComparedHeadline(
        data=entry.data,
        place=block.name,
        basis=(*block.basis, *version),
        metric=number.metric,
        protocol=number.protocol,
        name=number.name,
        higher_is_better=number.higher_is_better is not False,
        over=block.over if number.mean == "macro" else None,
        pooled=number.mean == "pooled",
    )


def score_files(entries: Sequence[BoardEntry], found: ComparedData) -> Iterator[tuple[str, str]]:
    """Yield every script file, and fill `found`.

    A file that cannot be read as scores costs its model that task.

    Args:
        entries: Those that the board shows.
        found: Empty; whole when all files were yielded.
    """
    written: set[str] = set()
    for entry in entries:
        tasks: list[tuple[int, str, str]] = []
        for block in entry.blocks:
            about = headline_of(entry, block)
            path = None if about is None else score_path(entry.folder, block.name, about.metric, about.protocol)
            if about is None or path is None:
                continue
            names = list(dict.fromkeys(it.name for it in block.numbers if (it.metric, it.protocol) == block.headline))
            try:
                columns = read_scores(path, about.metric, about.protocol, len(names))
            except DataError:
                continue
            if len(columns.repeat) > MOST_SAMPLES:
                found.too_large.add(block.name)
                continue
            order, samples = _samples(columns)
            digest = hashlib.sha256(samples.encode()).hexdigest()[:8]
            samples_file = f"{COMPARED_SAMPLES}/{slug(block.name)}.{digest}.js"
            if samples_file not in written:
                written.add(samples_file)
                yield samples_file, _script(samples_file, samples)
            scores_file = f"{COMPARED_SCORES}/{slug(entry.name)}/{slug(block.name)}.js"
            if scores_file in written:  # a second entry of the same name
                continue
            written.add(scores_file)
            values = columns.values[order, names.index(about.name)]
            content = {
                "samples": samples_file,
                "values": _packed(values),
                "failed": np.flatnonzero(columns.failed[order]).tolist(),
            }
            yield scores_file, _script(scores_file, json.dumps(content, separators=(",", ":")))
            strata = found.headlines.setdefault(about, [])
            for row in block.numbers:
                same = (row.metric, row.protocol, row.name, row.mean) == (
                    about.metric,
                    about.protocol,
                    about.name,
                    "micro",
                )
                if same and row.stratum is not None and row.stratum not in strata:
                    strata.append(row.stratum)
            tasks.append((list(found.headlines).index(about), samples_file, scores_file))
        if tasks:
            found.models.append((entry, tasks))


def _samples(columns: ScoreColumns) -> tuple[np.ndarray[Any, np.dtype[np.int64]], str]:
    """Return the order of the rows by id and repetition, int64 (rows,), and the samples in that order as JSON."""
    ids = columns.sample_ids.to_pylist()
    repeat = columns.repeat.tolist()
    order = np.asarray(sorted(range(len(ids)), key=lambda row: (ids[row], repeat[row])), dtype=np.int64)
    # All that the first and the last in their order begin with, all others begin with.
    low, high = (ids[order[0]], ids[order[-1]]) if ids else ("", "")
    alike = next((place for place, (one, other) in enumerate(zip(low, high, strict=False)) if one != other), None)
    prefix = low[:alike]
    content = {
        "prefix": prefix,
        "ids": [ids[row][len(prefix) :] for row in order],
        "repeat": [repeat[row] for row in order] if any(repeat) else [],
        "clusters": list(columns.cluster_names),
        "cluster": columns.cluster[order].tolist(),
        "strata": [[key, names, place[order].tolist()] for key, (names, place) in columns.by_stratum().items()],
    }
    return order, json.dumps(content, separators=(",", ":"))


def _packed(values: np.ndarray[Any, np.dtype[np.float64]]) -> list[int | None] | str:
    """Return values in the shorter of two exact forms."""
    defined = values[~np.isnan(values)]
    if np.all(np.abs(defined) < 1e6) and np.all(defined == np.rint(defined)):
        return [None if np.isnan(value) else int(value) for value in values]
    return base64.b64encode(values.astype("<f8").tobytes()).decode()


def _script(name: str, content: str) -> str:
    return f"medgroundCompare({json.dumps(name)}, {content});\n"
