"""The files of a bundle: another form than a bundle's is refused, before anything computes with it."""

import hashlib
import json
from pathlib import Path

import pytest

from harness.errors import DataError
from leaderboard.verification.archive import unpack
from leaderboard.verification.contents import parse, read_contents
from tests.support.bundle_mutations import INDEX, LINES, RUN, mutated, pack, read, seal
from tests.support.good_bundle import BUNDLE

GOOD = BUNDLE.read_bytes()
# A part of the reason that a person reads. Seeds of one kind differ in which row or line they change.
REASONS = {
    "sealed: text of another type": r"^predictions/predictions\.jsonl:\d+: text: has another type than a prediction",
    "sealed: text too long": "text: .* is too long",
    "sealed: unknown field": "'target': is no field of a prediction in a bundle",
    "sealed: prompt kept": "'rendered': is no field of a prediction in a bundle",
    "sealed: traceback kept": "error: has another type",
    "sealed: infinite score": "Infinity is not a number in JSON",
    "sealed: half a character": "holds half of a surrogate pair; expected text that can be written as UTF-8",
    "sealed: not UTF-8": "is not UTF-8",
    "sealed: nested deeply": "is nested too deeply",
    "sealed: many values": "holds more than 500,000 values",
    "sealed: masks under another name": "its content does not fit the digest in its name",
    "sealed: masks that are no masks": "masks: expected masks as run lengths or as probabilities",
    "sealed: masks with a secret": "masks: expected masks as run lengths",
    "sealed: packed bomb": "unpacks to more than 32 MiB",
    "sealed: masks missing": "^blobs/.*: is missing",
    "sealed: masks added": "^blobs/a",
    "sealed: oracle": "^run.json: the model is given the targets; an oracle enters no board",
    "sealed: oracle by its capabilities": "the model is given the targets",
    "sealed: capabilities of no form": "^bundle.json: capabilities: expected takes, gives, max_images",
    "sealed: name too long": "^run.json: model: name: expected 1 to 80 characters",
    "sealed: name that turns the text": "name: expected 1 to 80 characters that can be shown",
    "sealed: name of no text": "model.name: expected text",
    "sealed: script for a page": "url: expected an address that begins with https://",
    "sealed: parameters beyond measure": "params: expected the number of parameters",
    "sealed: argument too long": "holds a text of 30,000 characters; expected at most 20,000",
    "sealed: schema": "^run.json: schema: expected 1",
    "sealed: further field": "^run.json: fields: expected batch_size, data, limit",
    "sealed: field lost": "^run.json: fields: expected",
    "sealed: task name as a path": "^run.json: requested: expected names of tasks and groups",
    "sealed: key twice": "^run.json: holds a key twice",
    "sealed: not a number": "^results.json: NaN is not a number in JSON",
    "sealed: number of 400 digits": "expected a finite number, got a number beyond all measure",
    "sealed: results of no form": "^results.json: expected a JSON object",
    "sealed: card of other bytes": "^card.md: is not UTF-8",
    "sealed: card that is a pickle": "^card.md: is a pickle, whatever its name says",
    "sealed: card that is an archive": "^card.md: is an archive, whatever its name says",
    "raw: value forged": "^results.json: its bytes do not fit their digest in bundle.json",
    "raw: answer forged": "^predictions/predictions.jsonl: its bytes do not fit their digest",
    "raw: digest forged": "its bytes do not fit their digest",
    "raw: index without a file": "^bundle.json: files: expected every other member, found another list: results.json",
    "raw: masks forged": "^blobs/.* its bytes do not fit their digest",
    "raw: member lost": ": missing; expected what|found another list",
}


def checked(archive: bytes, folder: Path) -> None:
    """Unpack a bundle and check its form."""
    path = folder / "bundle.zip"
    path.write_bytes(archive)
    work = folder / "work"
    work.mkdir()
    read_contents(work, unpack(path, work))


# It takes a third of a second to make, and `results of many values` is refused for the same reason.
SLOW = pytest.param("sealed: many values", marks=pytest.mark.slow)


@pytest.mark.parametrize("kind", [SLOW if kind == "sealed: many values" else kind for kind in REASONS])
def test_another_form_is_refused_with_its_reason(kind: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=REASONS[kind]):
        checked(mutated(kind, 5, GOOD), tmp_path)


def test_a_good_bundle_has_the_form(tmp_path: Path) -> None:
    checked(GOOD, tmp_path)


@pytest.mark.parametrize("kind", ["value raised", "line dropped", "answer turned", "verdict without a judge"])
def test_what_only_data_can_tell_has_the_form(kind: str, tmp_path: Path) -> None:
    checked(mutated(f"sealed: {kind}", 0, GOOD), tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "expected schema 1 with medground, capabilities and files"),
        ({"medground": "<script>"}, "medground: expected a version"),
        ({"files": []}, "files: expected every other member"),
        ({"capabilities": 3}, "capabilities: expected an object"),
    ],
)
def test_the_index_has_one_form(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    files = read(GOOD)
    files[INDEX] = json.dumps(json.loads(files[INDEX]) | change).encode()
    with pytest.raises(DataError, match=f"^bundle.json: {reason}"):
        checked(pack(files), tmp_path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"data": "made up"}, "data: expected real or phantom"),
        ({"seed": True}, "seed: expected a whole number"),
        ({"limit": 0}, "limit: expected nothing or a count"),
        ({"batch_size": -1}, "batch_size: expected nothing or a count"),
        ({"promise": "gold"}, "promise: expected bytes or interval"),
        ({"parameters": []}, "parameters: expected an object"),
        ({"tasks": []}, "tasks: expected an object by names of tasks"),
        ({"tasks": {"vqa_rad": {}}}, "tasks.vqa_rad: expected version, decoding, digest and data_digest"),
        ({"model": []}, "model: expected an object"),
        ({"model": {}}, "model.oracle: expected true or false"),
        ({"model": {"oracle": False}}, "model.id: expected 1 to 500 characters"),
        ({"model": {"oracle": False, "id": "a"}}, "model.version: expected text"),
        ({"model": {"oracle": False, "id": "a", "version": "1"}}, "model.arguments: expected an object"),
        (
            {"model": {"oracle": False, "id": "a", "version": "1", "arguments": {}}},
            "model.weights: expected a list",
        ),
    ],
)
def test_the_run_has_one_form(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    files = read(GOOD)
    files[RUN] = json.dumps(json.loads(files[RUN]) | change).encode()
    with pytest.raises(DataError, match=f"^run.json: {reason}"):
        checked(pack(seal(files)), tmp_path)


def test_a_judge_comes_with_all_of_its_files(tmp_path: Path) -> None:
    files = read(GOOD)
    del files[next(name for name in files if name.endswith("samples.jsonl"))]
    with pytest.raises(DataError, match=r"^judgements/001-correctness-\w+/samples.jsonl: is missing"):
        checked(pack(seal(files)), tmp_path)


def test_a_line_without_an_end_is_refused(tmp_path: Path) -> None:
    files = read(GOOD)
    files[LINES] = files[LINES][:-1]
    index = json.loads(files[INDEX])
    index["files"][LINES] = {"bytes": len(files[LINES]), "sha256": hashlib.sha256(files[LINES]).hexdigest()}
    files[INDEX] = json.dumps(index).encode()
    with pytest.raises(DataError, match=r"jsonl:18: is not ended, or longer than 4,194,304 bytes"):
        checked(pack(files), tmp_path)


def test_json_is_read_as_json() -> None:
    assert parse(b'{"a": [1, 2.5, null, true, "x"]}') == {"a": [1, 2.5, None, True, "x"]}
    with pytest.raises(ValueError, match="Expecting value"):
        parse(b"[1,")
