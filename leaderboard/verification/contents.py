"""The form of a bundle's files: digests, JSON that a reader survives, and fields of the types that they must have."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from harness.errors import DataError, SpecError
from harness.exports.bundles import layout
from harness.records import Capabilities
from harness.records.codec import sha256_file
from leaderboard.entry_file import check_results
from leaderboard.verification.archive import MOST_BLOB_BYTES
from leaderboard.verification.lines import check_line, check_masks

# Longer texts of a record are refused before they reach a page or a log.
MOST_CHARACTERS = 20_000
# Values of a JSON text, counted by its commas and opening brackets before it is parsed: Python needs about 100 bytes
# for each, so a small file of `[{},{},...` would fill the memory.
MOST_VALUES = 500_000
SHA256 = re.compile(r"[0-9a-f]{64}")
BLOCK = 1 << 20
# Masks of more than 256 KiB are in files of their own, and a text has at most 500,000 characters.
MOST_LINE_BYTES = 4 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleContents:
    """A bundle whose form is right.

    Attributes:
        folder: The folder that holds its unpacked files.
        run, results: The contents of `run.json` and `results.json`.
        capabilities: Of the model, as far as requests depend on them.
    """

    folder: Path
    run: Mapping[str, Any]
    results: Mapping[str, Any]
    capabilities: Capabilities


def read_contents(folder: Path, names: Sequence[str]) -> BundleContents:
    """Check every file of an unpacked bundle.

    Args:
        folder: The unpacked bundle.
        names: Its members.
    Raises:
        DataError: A digest does not fit, or a file has another form.
    """
    capabilities = _check_index(folder, names)
    run = read_object(folder, layout.RUN)
    _check_run(run)
    if run["model"]["oracle"] or "target" in capabilities.takes:
        raise DataError(f"{layout.RUN}: the model is given the targets; an oracle enters no board")
    results = read_object(folder, layout.RESULTS)
    check_results(folder / layout.RESULTS, results)
    _check_text(folder, layout.CARD)
    blobs = {name for name in names if layout.is_blob(name)}
    named: set[str] = set()
    for member in names:
        if member == layout.PREDICTIONS:
            _check_lines(folder, member, lambda line: named.update(check_line(line)))
        elif layout.is_blob(member):
            _check_blob(folder, member)
        elif (judge := layout.judge_of(member)) is not None:
            _check_judge_file(folder, member, layout.judge_members(judge))
        elif member == layout.PANELS_FILE:
            read_json(folder, member)
    expected = {layout.blob_name(digest) for digest in named}
    if strangers := sorted(blobs ^ expected):
        why = "is named by no prediction" if strangers[0] in blobs else "is missing"
        raise DataError(f"{strangers[0]}: {why}")
    judges = {judge for name in names if (judge := layout.judge_of(name)) is not None}
    for judge in sorted(judges):
        if absent := [name for name in layout.judge_members(judge) if name not in names]:
            raise DataError(f"{absent[0]}: is missing")
    return BundleContents(folder=folder, run=run, results=results, capabilities=capabilities)


def read_json(folder: Path, name: str) -> Any:
    """Return the content of a JSON file.

    Raises:
        DataError: It is no JSON in UTF-8, holds too much, the same key twice, NaN, or over-long texts.
    """
    try:
        return parse((folder / name).read_bytes())
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the content of a JSON file that holds an object.

    Raises:
        DataError: As `read_json`, or it holds something else.
    """
    content = read_json(folder, name)
    if not isinstance(content, dict):
        raise DataError(f"{name}: expected a JSON object")
    return content


def parse(text: bytes | bytearray, most_characters: int = MOST_CHARACTERS) -> Any:
    """Return the value of a JSON text.

    Args:
        text: UTF-8.
        most_characters: Length of the longest text within; 0 for any length.
    Raises:
        ValueError: It is none, or one that a reader should not be given.
    """
    if sum(text.count(mark) for mark in (b",", b"{", b"[")) > MOST_VALUES:
        raise ValueError(f"holds more than {MOST_VALUES:,} values")

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is not a number in JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("holds a key twice")
        for key in found:
            check(key)
        return found

    def check(value: Any) -> None:
        if isinstance(value, str):
            if most_characters and len(value) > most_characters:
                raise ValueError(f"holds a text of {len(value):,} characters; expected at most {most_characters:,}")
            if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
                raise ValueError("holds half of a surrogate pair; expected text that can be written as UTF-8")
        elif isinstance(value, list):
            for item in value:
                check(item)
        elif isinstance(value, dict):
            for item in value.values():
                check(item)

    try:
        value = json.loads(text.decode("utf-8"), parse_constant=refuse, object_pairs_hook=once)
        check(value)
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8: {error}") from error
    except RecursionError as error:  # Python's reader recurses into nested lists
        raise ValueError("is nested too deeply") from error
    return value


def _check_index(folder: Path, names: Sequence[str]) -> Capabilities:
    """Check `bundle.json` and the digest of every other member; return the model's capabilities."""
    index = read_object(folder, layout.INDEX)
    if index.keys() != {"schema", "medground", "capabilities", "files"} or index["schema"] != layout.SCHEMA:
        raise DataError(f"{layout.INDEX}: expected schema {layout.SCHEMA} with medground, capabilities and files")
    if not isinstance(index["medground"], str) or not re.fullmatch(r"[0-9A-Za-z.+-]{1,40}", index["medground"]):
        raise DataError(f"{layout.INDEX}: medground: expected a version")
    files = index["files"]
    wanted = {name for name in names if name != layout.INDEX}
    if not isinstance(files, dict) or files.keys() != wanted:
        odd = sorted(wanted ^ (files.keys() if isinstance(files, dict) else set()))
        raise DataError(f"{layout.INDEX}: files: expected every other member, found another list: {', '.join(odd[:3])}")
    for name in sorted(wanted):
        path = folder / name
        found = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        if files[name] != found:
            raise DataError(f"{name}: its bytes do not fit their digest in {layout.INDEX}")
    try:
        return layout.read_capabilities(index["capabilities"])
    except (ValueError, AttributeError) as error:
        raise DataError(f"{layout.INDEX}: capabilities: {error}") from error


def _check_run(run: Mapping[str, Any]) -> None:
    """Check the fields of `run.json` that are read.

    Raises:
        DataError: The first that has another type.
    """

    def expect(right: bool, where: str, what: str) -> None:
        if not right:
            raise DataError(f"{layout.RUN}: {where}: expected {what}")

    def is_whole(value: Any, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    keys = {"schema", "model", "data", "requested", "tasks", "seed", "limit", "batch_size", "parameters", "promise"}
    expect(run.keys() == keys, "fields", ", ".join(sorted(keys)))
    expect(run["schema"] == 1 and is_whole(run["schema"], 1), "schema", "1")
    expect(run["data"] in ("real", "phantom"), "data", "real or phantom")
    expect(is_whole(run["seed"], -(10**18)) and run["seed"] < 10**18, "seed", "a whole number")
    expect(run["limit"] is None or (is_whole(run["limit"], 1) and run["limit"] < 10**9), "limit", "nothing or a count")
    expect(run["batch_size"] is None or is_whole(run["batch_size"], 1), "batch_size", "nothing or a count")
    expect(run["promise"] in ("bytes", "interval"), "promise", "bytes or interval")
    expect(isinstance(run["parameters"], dict), "parameters", "an object")
    requested, tasks, model = run["requested"], run["tasks"], run["model"]
    named = isinstance(requested, list) and bool(requested) and all(_is_name(name) for name in requested)
    expect(named, "requested", "names of tasks and groups")
    expect(isinstance(tasks, dict) and all(_is_name(name) for name in tasks), "tasks", "an object by names of tasks")
    for name, task in tasks.items():
        right = isinstance(task, dict) and task.keys() == {"version", "digest", "data_digest", "decoding"}
        right = right and is_whole(task["version"], 0) and isinstance(task["decoding"], dict)
        right = right and all(SHA256.fullmatch(str(task[key])) is not None for key in ("digest", "data_digest"))
        expect(right, f"tasks.{name}", "version, decoding, digest and data_digest")
    expect(isinstance(model, dict), "model", "an object")
    expect(isinstance(model.get("oracle"), bool), "model.oracle", "true or false")
    expect(isinstance(model.get("id"), str) and 0 < len(model["id"]) <= 500, "model.id", "1 to 500 characters")
    for key, kind in (("version", str), ("arguments", dict), ("weights", list)):
        expect(isinstance(model.get(key), kind), f"model.{key}", {str: "text", dict: "an object", list: "a list"}[kind])
    try:
        layout.check_description(model)
    except SpecError as error:
        raise DataError(f"{layout.RUN}: model: {str(error).removeprefix('--')}") from error


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", value) is not None


def _check_text(folder: Path, name: str) -> None:
    try:
        (folder / name).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: is not UTF-8: {error}") from error


def _check_lines(folder: Path, name: str, check: Callable[[dict[str, Any]], object]) -> None:
    """Parse and check every line of a file of JSON lines."""
    for number, line in enumerate(_lines(folder / name), 1):
        try:
            if not line.endswith(b"\n"):
                raise ValueError(f"is not ended, or longer than {MOST_LINE_BYTES:,} bytes")
            value = parse(line, most_characters=0)
            if not isinstance(value, dict):
                raise ValueError("expected a JSON object")
            check(value)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise DataError(f"{name}:{number}: {error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MOST_LINE_BYTES):
            yield line


def _check_blob(folder: Path, name: str) -> None:
    """Check that a file of masks holds what its name says, and does not unpack to more than is read.

    Raises:
        DataError: It does not.
    """
    import zstandard

    content = bytearray()
    try:
        with (folder / name).open("rb") as file:
            # A window is what the unpacker keeps in memory, whatever it writes; ours are of 2 MiB.
            reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(file)
            while block := reader.read(BLOCK):
                content += block
                if len(content) > MOST_BLOB_BYTES:
                    raise DataError(f"{name}: unpacks to more than {MOST_BLOB_BYTES >> 20} MiB")
    except zstandard.ZstdError as error:
        raise DataError(f"{name}: cannot be unpacked: {error}") from error
    if layout.blob_name(hashlib.sha256(content).hexdigest()) != name:
        raise DataError(f"{name}: its content does not fit the digest in its name")
    try:
        check_masks(parse(content, most_characters=0))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from error


def _check_judge_file(folder: Path, name: str, members: tuple[str, str, str]) -> None:
    record, samples, _ = members
    if name == record:
        read_object(folder, name)
    else:
        # What is judged is made anew and compared; only the replies are taken as they are.
        _check_lines(folder, name, len if name == samples else check_line)
