"""The rounds of a construction in its run directory: what was planned to be asked, and which reply is stored to it.

    inputs.json                  the data roots, for a release that is made anew after a review
    sources.jsonl                the sources, one per line, in their order
    plan/0-NAME.keys.jsonl       of each round [source, question, key], in the order of the sources
    plan/0-NAME.requests.zst     its distinct requests: [key, name, request]

The plan of a round follows from the sources and the replies to earlier rounds, so it is written anew each time; a later
pass finds the key of each question in it and need not compute it again.
"""

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import zstandard

from harness.data.construction.pipeline import Ask as AskStep
from harness.data.construction.pipeline import Pipeline
from harness.data.construction.records import Question, Reply, Source, source_from_json
from harness.errors import SpecError
from harness.paths import without_home
from harness.records import Request
from harness.records.atomic_files import write_atomically
from harness.records.codec import canonical, to_json
from harness.runs.judgements import attempt_key
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore

SOURCES = "sources.jsonl"
INPUTS = "inputs.json"


def write_inputs(folder: Path, data_roots: Sequence[str], *, copy_media: bool, read_back: bool) -> None:
    """Note in a run directory what the outputs are made with again, if a person has rejected items.

    Args:
        folder: The run directory.
        data_roots: As given; folders are noted whole, the user's home, which holds their name, as `~`.
        copy_media, read_back: As given.
    """
    whole = [str(Path(root).resolve()) if Path(root).is_dir() else root for root in data_roots]
    value = {"data_roots": [without_home(root) for root in whole], "copy_media": copy_media, "read_back": read_back}
    write_atomically(folder / INPUTS, json.dumps(value, indent=2) + "\n")


def read_inputs(folder: Path) -> dict[str, Any]:
    """Return what `write_inputs` has noted.

    Raises:
        SpecError: The file is damaged or absent.
    """
    path = folder / INPUTS
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        value["data_roots"] = [str(Path(root).expanduser()) for root in value["data_roots"]]
        return {"copy_media": False, "read_back": True, **value}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(
            f"{path}: cannot be read ({type(error).__name__}); run the same `harness construct` command again, which "
            "writes it"
        ) from error


def read_sources(folder: Path) -> Iterator[Source]:
    """Yield the sources of a construction in their order, from its run directory."""
    with (folder / SOURCES).open(encoding="utf-8") as file:
        for line in file:
            yield source_from_json(json.loads(line))


def plan_paths(store: RunStore, number: int, ask: AskStep) -> tuple[Path, Path]:
    """Return the files of a round: the key of each question in order, and the distinct requests."""
    folder = store.path / "plan"
    return folder / f"{number}-{ask.name}.keys.jsonl", folder / f"{number}-{ask.name}.requests.zst"


class StoredReplies:
    """The stored replies of one pass over the sources, found by the plans of the rounds, which have the same order."""

    def __init__(self, store: RunStore, pipeline: Pipeline) -> None:
        self.store = store
        self._keys = [_keys_of(plan_paths(store, number, ask)[0]) for number, ask in enumerate(pipeline.asks)]
        self._ahead: list[tuple[str, str, str] | None] = [None] * len(self._keys)

    def find(self, source: Source, question: Question) -> Reply | None:
        """Return the reply to a question, the last attempt at it; None if it is not there."""
        for number, lines in enumerate(self._keys):
            if self._ahead[number] is None:
                self._ahead[number] = next(lines, None)
            ahead = self._ahead[number]
            if ahead is not None and ahead[:2] == (source.id, question.name):
                self._ahead[number] = None
                return reply_to(self.store, ahead[2], question)
        return None


def _keys_of(path: Path) -> Iterator[tuple[str, str, str]]:
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for line in file:
                source, question, key = json.loads(line)
                yield source, question, key


def last_attempt(store: RunStore, key: str) -> tuple[str, int]:
    """Return the key of the last stored attempt at a request, and its number from 0; the first if none is stored."""
    number, last = 0, key
    while store.is_done(following := attempt_key(key, number + 1, 0)):
        number, last = number + 1, following
    return last, number


def reply_to(store: RunStore, key: str, question: Question) -> Reply | None:
    """Return the stored reply under a key, the last attempt at it; None if there is none."""
    last, _ = last_attempt(store, key)
    prediction = store.prediction(last)
    if prediction is None:
        return None
    error = prediction.error
    return Reply(
        question=question.name,
        prompt=question.prompt,
        version=question.version,
        key=last,
        status=prediction.status,
        text=prediction.text or "",
        error="" if error is None else f"{error.type}: {error.message}",
    )


def write_round(
    store: RunStore, number: int, ask: AskStep, asked: Iterable[tuple[Source, Question, Request]], seen: set[bytes]
) -> None:
    """Write the plan of a round.

    Args:
        store: The run directory.
        number, ask: The round.
        asked: Every question of the round with its request, in the order of the sources.
        seen: Keys of the rounds before; those of this round are added. Equal requests are asked once.
    """
    keys_path, requests_path = plan_paths(store, number, ask)
    keys_path.parent.mkdir(exist_ok=True)
    temporary = [path.with_suffix(".tmp") for path in (keys_path, requests_path)]
    packer = zstandard.ZstdCompressor(level=1)
    with (
        temporary[0].open("w", encoding="utf-8") as keys,
        temporary[1].open("wb") as raw,
        packer.stream_writer(raw) as requests,
    ):
        for source, question, request in asked:
            keys.write(json.dumps([source.id, question.name, request.key], ensure_ascii=False) + "\n")
            name = bytes.fromhex(request.key)
            if name not in seen:
                seen.add(name)
                line = [request.key, f"{source.id}/{question.name}", canonical(to_json(request))]
                requests.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
    for path, made in zip((keys_path, requests_path), temporary, strict=True):
        made.replace(path)


def read_round(store: RunStore, number: int, ask: AskStep) -> Iterator[Ask]:
    """Yield the distinct requests of a round in their order."""
    with (
        plan_paths(store, number, ask)[1].open("rb") as raw,
        zstandard.ZstdDecompressor().stream_reader(raw) as reader,
    ):
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            key, name, text = json.loads(line)
            yield Ask(key, text, name)
