"""Entries of the board: find the results.json of runs and read it with suspicion, because it comes from outside.

Of the rest of a run only what it took is read (`entry_cost`). Types, ranges and sizes are checked before a page is
made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

from harness.errors import DataError, together
from harness.runs.directory import RESULTS, RunDirectory
from leaderboard.entry_parts.cost import cost_of
from leaderboard.entry_parts.judge import read_judge
from leaderboard.entry_parts.model import read_description, read_size_paper_licence, read_url
from leaderboard.entry_parts.typed_values import EntryReader, escaped

SCHEMA = 1
MARK = "entry.json"  # beside the results.json of a bundle that was verified and filed
# Entries come from outside: larger files are refused before they fill the memory.
MOST_BYTES = 64 * 2**20
MEANS = ("micro", "macro", "pooled")
Data = Literal["real", "phantom"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryNumber:
    """One row of `metrics` in results.json, on the metric's own scale; `interval` and counts are None if absent."""

    metric: str
    name: str
    protocol: str
    protocol_version: int | None
    higher_is_better: bool | None
    stratum: tuple[str, str] | None
    mean: str
    value: float | None
    interval: tuple[float, float] | None
    method: str | None
    n: int | None
    clusters: int | None
    undefined: int | None
    failed: int | None
    unparsed: int | None
    note: str | None
    judge: tuple[str, str, str] | None = None  # rubric, column of the judge, words beside its number


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryBlock:
    """A task or a group of results.json.

    Attributes:
        basis: Version and data of the task, or of a group's members: numbers are comparable only if they share these.
        coverage: Share of the samples that were scored; None for a group without its members' blocks.
        answered: Whether an answer of the task can be used; None for a group, and where results.json does not say so.
        headline: (metric, protocol) that stands for the task.
        over: Stratum key over whose values macro means are taken; None if there is none.
        headline_mean: Mean of the headline; None where results.json does not say it.
    """

    name: str
    basis: tuple[str, ...]
    coverage: float | None
    headline: tuple[str, str] | None
    over: str | None
    fallbacks: tuple[str, ...]
    numbers: tuple[EntryNumber, ...]
    answered: bool | None = None
    headline_mean: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEntry:
    """One run.

    Attributes:
        name: Its folder or file, relative to what `--entries` named.
        model: Id of the model, which decides whether it is a baseline.
        title: The name that its submitter gave it; empty if none.
        url: Its page, http or https; None if none is given.
        described: Its number of parameters, paper and licence, as far as they are given.
        arguments: Arguments of the model, as `key=value`.
        unsupported: Task -> reason.
        cost: Speed, memory, tokens and money of the run in words, as far as its performance file says them.
        submitted: Whether it came as a bundle, which `leaderboard add` verified.
        folder: The folder of its results.json, where the scores of its samples may be; None for a single JSON file.
    """

    name: str
    model: str
    title: str
    url: str | None
    described: tuple[str, ...]
    arguments: tuple[str, ...]
    oracle: bool
    data: Data
    limited: bool
    blocks: tuple[EntryBlock, ...]
    unsupported: Mapping[str, str]
    cost: tuple[str, ...] = ()
    submitted: bool = False
    folder: Path | None = None


def find_entries(folder: Path) -> list[tuple[str, Path]]:
    """Return (name, results file) of every run at or below `folder`, by name.

    A run is a folder with results.json, or a JSON file directly in `folder`.

    Raises:
        DataError: There is no such folder.
    """
    if folder.is_file():
        return [(folder.parent.name if folder.name == RESULTS else folder.stem, folder)]
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a run directory, a results.json, or a folder that holds some")
    results = RunDirectory(folder).results_path
    if results.is_file():
        return [(folder.resolve().name, results)]  # resolved, since "." has no name
    found = {path.parent.relative_to(folder).as_posix(): path for path in folder.rglob(RESULTS)}
    # A folder with a dot before its name is an entry that `leaderboard add` was writing when it was stopped.
    found = {name: path for name, path in found.items() if not name.startswith(".") and "/." not in name}
    found.update({path.stem: path for path in folder.glob("*.json")})
    return sorted(found.items())


def read_entry(name: str, path: Path) -> BoardEntry:
    """Return one run.

    Args:
        name: As `find_entries` gives it.
        path: Its results file.
    Raises:
        DataError: It is no valid results.json; the message has a line for each fault, with file and place.
    """
    reader = EntryReader(str(path))
    entry = replace(
        _entry(reader, name, _load(reader, path)),
        cost=cost_of(path),
        submitted=path.with_name(MARK).is_file(),
        folder=path.parent if path.name == RESULTS else None,
    )
    if reader.faults:
        raise together(reader.faults, DataError)
    return entry


def read_entries(folder: Path) -> list[BoardEntry]:
    """Return every run at or below `folder`, by name.

    Raises:
        DataError: A file is no valid results.json; the message has a line for each fault, with file and place.
    """
    entries: list[BoardEntry] = []
    faults: list[str] = []
    for name, path in find_entries(folder):
        try:
            entries.append(read_entry(name, path))
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise together(faults, DataError)
    return entries


def check_results(path: Path, content: Any) -> None:
    """Check the content of a results.json as the board reads it.

    Raises:
        DataError: It is none; the message has a line for each fault.
    """
    reader = EntryReader(path.name)
    _entry(reader, path.parent.name, content)
    if reader.faults:
        raise together(reader.faults, DataError)


def _load(reader: EntryReader, path: Path) -> Any:
    """Return the content of a file; None, with a fault noted, if it is too large or no JSON."""

    # JSON has no NaN and no infinities, but Python's reader accepts them.
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is not a number here")

    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for, and a device may have no end
            reader.fault("", "is a folder, a pipe or a device; expected a results.json")
            return None
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)  # whatever size the file system tells
        if len(content) > MOST_BYTES:
            reader.fault("", f"is larger than {MOST_BYTES} bytes; expected a results.json")
            return None
        return json.loads(content.decode("utf-8"), parse_constant=refuse)
    except (OSError, ValueError, RecursionError) as error:  # Python's reader recurses into nested lists
        reader.fault("", f"cannot be read as JSON: {error}")
        return None


def _entry(reader: EntryReader, name: str, content: Any) -> BoardEntry:
    results = {} if reader.faults else reader.mapping(content, "results")
    if not reader.faults and results.get("schema") != SCHEMA:
        reader.fault("schema", f"expected {SCHEMA}, the results of a run; is this another kind of file?")
    if reader.faults:
        # A stand-in: `read_entries` raises after all files are read, and this one's faults are known.
        results = {"model": {"id": "-", "oracle": False}, "data": "real", "limited": False, "tasks": {}}
    model = reader.mapping(results.get("model"), "model")
    arguments = reader.mapping(model.get("arguments", {}), "model.arguments")
    tasks = reader.mapping(results.get("tasks"), "tasks")
    blocks = {task: _task(reader, task, block) for task, block in tasks.items()}
    groups = reader.mapping(results.get("groups", {}), "groups")
    unsupported = reader.mapping(results.get("unsupported", {}), "unsupported")
    return BoardEntry(
        name=escaped(name),
        model=reader.text(model.get("id"), "model.id"),
        title=read_description(reader, model, "name") or "",
        url=read_url(reader, model),
        described=read_size_paper_licence(reader, model),
        arguments=tuple(
            f"{reader.brief(key, 'model.arguments')}={reader.brief(value, f'model.arguments.{key}')}"
            for key, value in arguments.items()
        ),
        oracle=reader.flag(model.get("oracle", False), "model.oracle"),
        data=cast(Data, reader.text(results.get("data"), "data", ("real", "phantom"))),
        limited=reader.flag(results.get("limited"), "limited"),
        blocks=(*blocks.values(), *(_group(reader, group, block, blocks) for group, block in groups.items())),
        unsupported={
            reader.text(task, "unsupported"): reader.text(reason, f"unsupported.{task}")
            for task, reason in unsupported.items()
        },
    )


def _task(reader: EntryReader, name: str, value: Any) -> EntryBlock:
    where = f"tasks.{name}"
    block = reader.mapping(value, where)
    headline = reader.mapping(block.get("headline") or {}, f"{where}.headline")
    over = headline.get("over")
    # Numbers of two versions of a task, or of other data, never share a column.
    version = reader.count(block.get("version"), f"{where}.version")
    digest = reader.text(block.get("data_digest"), f"{where}.data_digest")
    coverage = reader.number(block.get("coverage"), f"{where}.coverage")
    if not 0 <= coverage <= 1:
        reader.fault(f"{where}.coverage", f"expected a share of 0 to 1, got {coverage}")
    return EntryBlock(
        name=reader.text(name, where),
        basis=(f"version {version}", f"data {digest[:8]}"),
        coverage=coverage,
        headline=_headline(reader, headline, f"{where}.headline"),
        over=None if over is None else reader.text(over, f"{where}.headline.over"),
        fallbacks=tuple(
            reader.brief(item, f"{where}.fallbacks")
            for item in reader.sequence(block.get("fallbacks", []), f"{where}.fallbacks")
        ),
        numbers=_numbers(reader, block, where),
        answered=None if "answered" not in block else reader.count(block["answered"], f"{where}.answered") > 0,
        headline_mean=reader.text(headline["mean"], f"{where}.headline.mean", MEANS) if "mean" in headline else None,
    )


def _headline(reader: EntryReader, headline: Mapping[str, Any], where: str) -> tuple[str, str] | None:
    if not headline:
        return None
    metric, protocol = (reader.text(headline.get(key), f"{where}.{key}") for key in ("metric", "protocol"))
    return metric, protocol


def _group(reader: EntryReader, name: str, value: Any, tasks: Mapping[str, EntryBlock]) -> EntryBlock:
    where = f"groups.{name}"
    block = reader.mapping(value, where)
    listed = reader.sequence(block.get("members", []), f"{where}.members")
    members = [reader.text(member, f"{where}.members") for member in listed]
    found = [tasks[member] for member in members if member in tasks]
    coverages = [member.coverage for member in found if member.coverage is not None]
    return EntryBlock(
        name=reader.text(name, where),
        basis=tuple(f"{member.name} {' '.join(member.basis)}" for member in found),
        coverage=min(coverages, default=None),  # a group's mean is no better covered than its worst member
        headline=None,
        over="task",
        fallbacks=tuple(dict.fromkeys(fallback for member in found for fallback in member.fallbacks)),
        numbers=_numbers(reader, block, where),
    )


def _numbers(reader: EntryReader, block: Mapping[str, Any], where: str) -> tuple[EntryNumber, ...]:
    rows = reader.sequence(block.get("metrics"), f"{where}.metrics")
    return tuple(_number(reader, row, f"{where}.metrics[{index}]") for index, row in enumerate(rows))


def _number(reader: EntryReader, value: Any, where: str) -> EntryNumber:
    row = reader.mapping(value, where)

    def count(key: str) -> int | None:
        return None if row.get(key) is None else reader.count(row[key], f"{where}.{key}")

    def text(key: str) -> str:
        return reader.text(row.get(key), f"{where}.{key}")

    better = row.get("higher_is_better")
    return EntryNumber(
        metric=text("metric"),
        name=text("name"),
        protocol=text("protocol"),
        protocol_version=count("protocol_version"),
        higher_is_better=None if better is None else reader.flag(better, f"{where}.higher_is_better"),
        stratum=_stratum(reader, row.get("stratum"), f"{where}.stratum"),
        mean=reader.text(row.get("mean"), f"{where}.mean", MEANS),
        value=None if row.get("value") is None else reader.number(row["value"], f"{where}.value"),
        interval=_interval(reader, row.get("ci"), f"{where}.ci"),
        method=None if row.get("ci_method") is None else text("ci_method"),
        n=count("n"),
        clusters=count("clusters"),
        undefined=count("undefined"),
        failed=count("failed"),
        unparsed=count("unparsed"),
        note=None if row.get("note") is None else text("note"),
        judge=read_judge(reader, row.get("judge"), text("protocol"), f"{where}.judge"),
    )


def _stratum(reader: EntryReader, value: Any, where: str) -> tuple[str, str] | None:
    if value is None:
        return None
    items = list(reader.mapping(value, where).items())
    if len(items) != 1:  # `harness` writes no crossed strata
        reader.fault(where, f"expected one key with its value, got {len(items)}")
        return None
    key, word = items[0]
    return reader.text(key, where), reader.text(word, f"{where}.{key}")


def _interval(reader: EntryReader, value: Any, where: str) -> tuple[float, float] | None:
    if value is None:
        return None
    bounds = [reader.number(bound, where) for bound in reader.sequence(value, where)]
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        reader.fault(where, "expected [low, high]")
        return None
    return bounds[0], bounds[1]
