"""Bundles that lie, as a submitter, a broken tool or an attacker could make them; seeded.

A kind changes the archive, or one file in it. `sealed` kinds are followed by new checksums and digests, as after an
edit of the run directory before `harness bundle`, so that no digest gives them away.
"""

# Every change takes the same arguments, and not every one needs a choice.
# ruff: noqa: ARG001, ARG005

import gzip
import hashlib
import io
import json
import pickle
import random
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import zstandard

Files = dict[str, bytes]
RUN, RESULTS, INDEX, CARD = "run.json", "results.json", "bundle.json", "card.md"
LINES = "predictions/predictions.jsonl"


def read(archive: bytes) -> Files:
    """Return the members of an archive."""
    with zipfile.ZipFile(io.BytesIO(archive)) as file:
        return {name: file.read(name) for name in file.namelist()}


def pack(files: Mapping[str, bytes]) -> bytes:
    """Return an archive with these members."""
    return pack_all([(zipfile.ZipInfo(name), content) for name, content in files.items()])


def pack_all(members: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    """Return an archive with these members, whatever their names."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for info, content in members:
            if info.compress_type == zipfile.ZIP_STORED:
                info.compress_type = zipfile.ZIP_DEFLATED
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a name that is there twice is what is wanted
                file.writestr(info, content)
    return target.getvalue()


def seal(files: Files) -> Files:
    """Give the lines of predictions and the index of a bundle the checksums that fit them."""
    for name, content in files.items():
        if name.endswith("predictions.jsonl"):
            files[name] = b"".join(map(_sealed_line, content.splitlines(keepends=True)))
    index = json.loads(files[INDEX])
    index["files"] = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(files.items())
        if name != INDEX
    }
    files[INDEX] = json.dumps(index).encode()
    return files


def _sealed_line(line: bytes) -> bytes:
    body, mark, _ = line.rpartition(b',"crc32":"')
    return body + b',"crc32":"%08x"}\n' % zlib.crc32(body) if mark else line


# Changes of one file. Each takes a random generator and the members, and changes them in place.

Change = Callable[[random.Random, Files], None]


def _json(name: str, change: Callable[[random.Random, Any], None]) -> Change:
    def apply(draw: random.Random, files: Files) -> None:
        value = json.loads(files[name])
        change(draw, value)
        files[name] = json.dumps(value, ensure_ascii=False).encode()

    return apply


def _rows(results: Any) -> list[dict[str, Any]]:
    return [row for block in results["tasks"].values() for row in block["metrics"]]


def _numbered(results: Any) -> list[dict[str, Any]]:
    return [row for row in _rows(results) if row["value"] is not None]


def _set(results: Any, draw: random.Random, key: str, value: Any) -> None:
    draw.choice(_numbered(results))[key] = value


def _line(change: Callable[[random.Random, dict[str, Any]], None], where: Callable[[Any], bool] = bool) -> Change:
    """Change one line of predictions for which `where` holds."""

    def apply(draw: random.Random, files: Files) -> None:
        lines = [json.loads(line) for line in files[LINES].splitlines()]
        chosen = draw.choice([index for index, line in enumerate(lines) if where(line)])
        change(draw, lines[chosen])
        files[LINES] = _joined(lines)

    return apply


def _joined(lines: list[dict[str, Any]]) -> bytes:
    """Return lines as they are stored: checksum last, the file of masks right before it."""
    text = []
    for line in lines:
        last = {name: line.pop(name) for name in ("masks_blob", "masks_blob_bytes", "crc32") if name in line}
        text.append(json.dumps({**line, **last}, separators=(",", ":"), ensure_ascii=False))
    return "".join(f"{line}\n" for line in text).encode()


def _lines(change: Callable[[random.Random, list[bytes]], None], name: str = LINES) -> Change:
    def apply(draw: random.Random, files: Files) -> None:
        lines = files[name].splitlines(keepends=True)
        change(draw, lines)
        files[name] = b"".join(lines)

    return apply


def _answer(status: str) -> Callable[[Any], bool]:
    return lambda line: line["status"] == status


def _has(field: str) -> Callable[[Any], bool]:
    return lambda line: field in line


def _flip_text(draw: random.Random, line: dict[str, Any]) -> None:
    line["text"] = "no" if line["text"].lower().startswith("yes") else "Yes, it is."


def _swap_keys(draw: random.Random, files: Files) -> None:
    lines = [json.loads(line) for line in files[LINES].splitlines()]
    yes = [line for line in lines if line.get("text", "").startswith("Yes") and line["status"] == "ok"]
    no = [line for line in lines if line.get("text") == "no" and line["status"] == "ok"]
    one, other = draw.choice(yes), draw.choice(no)
    one["key"], other["key"] = other["key"], one["key"]
    files[LINES] = _joined(lines)


def _blob(files: Files) -> str:
    return next(name for name in files if name.startswith("blobs/"))


def _judge(files: Files, end: str) -> str:
    return next(name for name in files if name.startswith("judgements/") and name.endswith(end))


def _new_blob(content: bytes, *, rename: bool) -> Change:
    """Replace the content of the file of masks; with `rename` under the name that it then has."""

    def apply(draw: random.Random, files: Files) -> None:
        old = _blob(files)
        packed = zstandard.compress(content)
        digest = hashlib.sha256(content).hexdigest()
        name = f"blobs/{digest}.json.zst" if rename else old
        del files[old]
        files[name] = packed
        lines = [json.loads(line) for line in files[LINES].splitlines()]
        for line in lines:
            if "masks_blob" in line:
                line["masks_blob_bytes"] = len(packed)
                line["masks_blob"] = digest if rename else line["masks_blob"]
        files[LINES] = _joined(lines)

    return apply


def _judge_line(end: str, change: Callable[[random.Random, dict[str, Any]], None]) -> Change:
    def apply(draw: random.Random, files: Files) -> None:
        name = _judge(files, end)
        lines = [json.loads(line) for line in files[name].splitlines()]
        change(draw, draw.choice(lines))
        files[name] = (
            _joined(lines)
            if end == "predictions.jsonl"
            else b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)
        )

    return apply


def _judge_record(change: Callable[[Any], None]) -> Change:
    def apply(draw: random.Random, files: Files) -> None:
        name = next(
            name
            for name in files
            if name.startswith("judgements/") and name.count("/") == 2 and name.endswith("run.json")
        )
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return apply


def _update(value: Any, **change: Any) -> None:
    value.update(change)


def _task(change: Mapping[str, Any]) -> Callable[[random.Random, Any], None]:
    return lambda draw, value: value["tasks"]["vqa_rad"].update(change)


def _model(change: Mapping[str, Any]) -> Callable[[random.Random, Any], None]:
    return lambda draw, value: value["model"].update(change)


def _both_models(**change: Any) -> Change:
    """Change the model in run.json and results.json alike."""

    def apply(draw: random.Random, files: Files) -> None:
        for name in (RUN, RESULTS):
            _json(name, _model(change))(draw, files)

    return apply


def _everywhere(old: bytes, new: bytes) -> Change:
    def apply(draw: random.Random, files: Files) -> None:
        assert old in files[LINES], old
        files[LINES] = files[LINES].replace(old, new)

    return apply


def _byte(draw: random.Random, files: Files) -> None:
    """Replace one byte of one file by another that keeps its line together."""
    name = draw.choice(sorted(files))
    content = bytearray(files[name])
    places = [place for place, byte in enumerate(content) if byte != 10]
    content[draw.choice(places)] = draw.choice(b'0123456789 abz"{}[],:.-\\\xff')
    files[name] = bytes(content)


def _sealed_as_it_stands(files: Files) -> Files:
    """Seal a bundle, unless its index or a line is no JSON any more."""
    try:
        return seal(dict(files))
    except (ValueError, TypeError, AttributeError, KeyError):
        return files


def _values(draw: random.Random) -> bytes:
    """Return 600,000 digits, which do not shrink as a bomb does."""
    return b",".join(bytes([48 + byte % 10]) for byte in draw.randbytes(600_000))


MALFORMED = {"size": [24, 32], "counts": "zzzz"}
# Sealed: followed by new checksums. Whether the form alone gives a kind away is said by FORM.
SEALED: dict[str, Change] = {
    # numbers that do not follow
    "value raised": _json(RESULTS, lambda draw, value: _set(value, draw, "value", 0.99)),
    "value by a little": _json(RESULTS, lambda draw, value: _set(value, draw, "value", 0.123456)),
    "interval narrowed": _json(RESULTS, lambda draw, value: _set(value, draw, "ci", [0.98, 0.99])),
    "n raised": _json(RESULTS, lambda draw, value: _set(value, draw, "n", 12345)),
    "failures hidden": _json(RESULTS, lambda draw, value: _update(value["tasks"]["vqa_rad"]["metrics"][0], failed=0)),
    "coverage raised": _json(RESULTS, lambda draw, value: _update(value["tasks"]["samed2d_seg"], coverage=0.5)),
    "counts changed": _json(RESULTS, lambda draw, value: _update(value["tasks"]["samed2d_seg"], counts={"ok": 6})),
    "row removed": _json(RESULTS, lambda draw, value: value["tasks"]["vqa_rad"]["metrics"].pop(draw.randrange(2))),
    "row twice": _json(
        RESULTS, lambda draw, value: value["tasks"]["vqa_rad"]["metrics"].append(draw.choice(_rows(value)))
    ),
    "unknown metric": _json(RESULTS, lambda draw, value: _set(value, draw, "metric", "brilliance")),
    "unknown protocol": _json(RESULTS, lambda draw, value: _set(value, draw, "protocol", "ours")),
    "unknown protocol version": _json(RESULTS, lambda draw, value: _set(value, draw, "protocol_version", 99)),
    "direction turned": _json(RESULTS, lambda draw, value: _set(value, draw, "higher_is_better", False)),
    "stratum renamed": _json(RESULTS, lambda draw, value: _set(value, draw, "stratum", {"question_type": "easy"})),
    "task dropped": _json(RESULTS, lambda draw, value: value["tasks"].pop(draw.choice(sorted(value["tasks"])))),
    "group added": _json(RESULTS, lambda draw, value: _update(value, groups={"all": {"metrics": [], "members": []}})),
    "task called unsupported": _json(RESULTS, lambda draw, value: _update(value, unsupported={"slake": "not able"})),
    "called unlimited": _json(RESULTS, lambda draw, value: _update(value, limited=True)),
    "other task version in results": _json(RESULTS, _task({"version": 7})),
    "other digest in results": _json(RESULTS, _task({"data_digest": "0" * 64})),
    "another model's name in results": _json(RESULTS, _model({"id": "somebody:else"})),
    # a run that was not made
    "another model": _both_models(id="gpt-9"),
    "other arguments": _both_models(arguments={"temperature": 1}),
    "other weights": _both_models(weights=["0" * 64]),
    "other version": _both_models(version="9"),
    "seed": _json(RUN, lambda draw, value: _update(value, seed=draw.randrange(1, 99))),
    "limit": _json(RUN, lambda draw, value: _update(value, limit=5)),
    "phantom called real": _json(RUN, lambda draw, value: _update(value, data="phantom")),
    "unknown task": _json(RUN, lambda draw, value: _update(value, requested=["no_such_task"])),
    "unknown task version": _json(RUN, _task({"version": 99})),
    "other task digest": _json(RUN, _task({"digest": "1" * 64})),
    "other data digest": _json(RUN, _task({"data_digest": "2" * 64})),
    "other decoding": _json(RUN, _task({"decoding": {"temperature": 2}})),
    "one task only": _json(RUN, lambda draw, value: value["tasks"].pop("samed2d_seg")),
    "unknown parameter": _json(RUN, lambda draw, value: _update(value, parameters={"dice.ease": 3})),
    # predictions
    "line dropped": _lines(lambda draw, lines: lines.pop(draw.randrange(len(lines)))),
    "half of the lines": _lines(lambda draw, lines: lines.__delitem__(slice(len(lines) // 2, None))),
    "line twice": _lines(lambda draw, lines: lines.append(draw.choice(lines))),
    "line added": _line(lambda draw, line: _update(line, key=f"{draw.getrandbits(256):064x}")),
    "answer turned": _line(_flip_text, lambda line: line["status"] == "ok" and line.get("text")),
    "answers exchanged": _swap_keys,
    "wrong answer blamed on the data": _line(lambda draw, line: _update(line, status="data_error"), _has("text")),
    "failure called ok": _line(lambda draw, line: _update(line, status="ok"), _answer("model_error")),
    "refusal called ok": _line(lambda draw, line: _update(line, status="ok"), _answer("refused")),
    "empty called ok": _line(lambda draw, line: _update(line, status="ok"), _answer("empty")),
    "ok called empty": _line(lambda draw, line: _update(line, status="empty"), _answer("ok")),
    "malformed mask": _line(lambda draw, line: _update(line, masks=[MALFORMED]), _has("masks")),
    "mask of another size": _line(
        lambda draw, line: _update(line, masks=[{"size": [8, 8], "counts": "`1"}]), _has("masks")
    ),
    "mask of a huge size": _line(
        lambda draw, line: _update(line, masks=[{"size": [2**40, 2**40], "counts": "`1"}]), _has("masks")
    ),
    "no mask called ok": _line(lambda draw, line: line.pop("masks"), _has("masks")),
    "mask doubled": _line(lambda draw, line: _update(line, masks=line["masks"] * 2), _has("masks")),
    "masks moved": _line(lambda draw, line: _update(line, masks=[{"size": [24, 32], "counts": "Ph0"}]), _has("masks")),
    "text of another type": _line(lambda draw, line: _update(line, text=["yes"])),
    "text too long": _line(lambda draw, line: _update(line, text="yes " * 150_000)),
    "unknown field": _line(lambda draw, line: _update(line, target="yes")),
    "prompt kept": _line(lambda draw, line: _update(line, rendered="What is it?")),
    "traceback kept": _line(
        lambda draw, line: line["error"].update(traceback="File /home/me/x.py"), _answer("model_error")
    ),
    "infinite score": _line(lambda draw, line: _update(line, mask_scores=[float("inf")]), _has("masks")),
    "entity out of range": _line(lambda draw, line: _update(line, entities=[{"name": "a", "mask": 7}]), _has("masks")),
    "half a character": _everywhere(b"Yes", b"\\ud800"),
    "not UTF-8": _everywhere(b"Yes", b"\xff\xfe"),
    "nested deeply": _lines(
        lambda draw, lines: lines.__setitem__(0, b'{"key":' + b"[" * 9000 + b"]" * 9000 + b',"crc32":"0"}\n')
    ),
    "many values": lambda draw, files: _update(
        files, **{LINES: files[LINES].replace(b'"seconds"', b'"nll":[' + _values(draw) + b'],"seconds"', 1)}
    ),
    # masks in files of their own
    "masks exchanged": _new_blob(b'[{"size":[24,32],"counts":"Ph0"}]', rename=True),
    "masks under another name": _new_blob(b'[{"size":[24,32],"counts":"Ph0"}]', rename=False),
    "masks that are no masks": _new_blob(b'{"masks":"all"}', rename=True),
    "masks with a secret": _new_blob(b'[{"size":[24,32],"path":"/etc/passwd"}]', rename=True),
    "packed bomb": _new_blob(b" " * 40_000_000, rename=True),
    "masks missing": lambda draw, files: _pop(files, _blob(files)),
    "masks added": lambda draw, files: _update(files, **{f"blobs/{'a' * 64}.json.zst": files[_blob(files)]}),
    # judges
    "verdict without a judge": _judge_line("samples.jsonl", lambda draw, line: _update(line, key="", decided=100.0)),
    "judged sample dropped": lambda draw, files: _lines(
        lambda draw, lines: lines.pop(draw.randrange(len(lines))), _judge(files, "samples.jsonl")
    )(draw, files),
    "judged sample of another type": _judge_line("samples.jsonl", lambda draw, line: _update(line, ask="often")),
    "stratum of a judged sample": _judge_line("samples.jsonl", lambda draw, line: _update(line, strata={"a": "b"})),
    "verdict turned": _judge_line(
        "predictions.jsonl",
        lambda draw, line: _update(line, text="incorrect" if "incorrect" not in line["text"] else "Verdict: correct"),
    ),
    "reply to nothing": _judge_line(
        "predictions.jsonl", lambda draw, line: _update(line, key=f"{draw.getrandbits(256):064x}")
    ),
    "reply lost": lambda draw, files: _lines(
        lambda draw, lines: lines.pop(draw.randrange(len(lines))), _judge(files, "predictions/predictions.jsonl")
    )(draw, files),
    "another judge": _judge_record(lambda value: value["judge"].update(id="openai:gpt-9")),
    "another rubric": _judge_record(lambda value: value["rubric"].update(version=99)),
    "rubric from a path": _judge_record(lambda value: value["rubric"].update(name="/etc/passwd.yaml")),
    "panel of nobody": lambda draw, files: _update(
        files, **{"judgements/panels.json": b'[{"rubric":"correctness","rule":"mean","quorum":0,"members":[]}]'}
    ),
    "panel of no form": lambda draw, files: _update(files, **{"judgements/panels.json": b'{"a":1}'}),
    # forms
    "a byte": _byte,
    "oracle": _both_models(oracle=True),
    "oracle by its capabilities": _json(INDEX, lambda draw, value: value["capabilities"]["takes"].append("target")),
    "other capabilities": _json(INDEX, lambda draw, value: value["capabilities"].update(gives=["text"])),
    "capabilities of no form": _json(INDEX, lambda draw, value: value["capabilities"].update(max_images="many")),
    "name too long": _both_models(name="x" * 500),
    "name that turns the text": _both_models(name="Good\u202emodel"),
    "name of no text": _both_models(name={"a": 1}),
    "script for a page": _both_models(url="javascript:alert(1)"),
    "parameters beyond measure": _both_models(params=10**30),
    "argument too long": _both_models(arguments={"prompt": "x" * 30_000}),
    "schema": _json(RUN, lambda draw, value: _update(value, schema=2)),
    "further field": _json(RUN, lambda draw, value: _update(value, comment="trust me")),
    "field lost": _json(RUN, lambda draw, value: value.pop(draw.choice(sorted(value)))),
    "task name as a path": _json(RUN, lambda draw, value: _update(value, requested=["../../etc/passwd"])),
    "key twice": lambda draw, files: _update(files, **{RUN: files[RUN].replace(b"{", b'{"seed": 1,', 1)}),
    "not a number": lambda draw, files: _update(files, **{RESULTS: files[RESULTS].replace(b"0.", b"NaN, 0.", 1)}),
    "number of 400 digits": _json(RESULTS, lambda draw, value: _set(value, draw, "value", 10**400)),
    "results of no form": lambda draw, files: _update(files, **{RESULTS: b"[]"}),
    "results nested deeply": lambda draw, files: _update(files, **{RESULTS: b"[" * 50_000 + b"]" * 50_000}),
    "results of many values": lambda draw, files: _update(files, **{RESULTS: b'{"a":[' + _values(draw) + b"]}"}),
    "card of other bytes": lambda draw, files: _update(files, **{CARD: b"\xff\xfe\x00"}),
    "card that is a pickle": lambda draw, files: _update(files, **{CARD: pickle.dumps({"a": 1})}),
    "card that is an archive": lambda draw, files: _update(files, **{CARD: gzip.compress(b"a" * 99)}),
    # harmless
    "card rewritten": lambda draw, files: _update(files, **{CARD: b"# Mine\n"}),
    "time taken": _line(lambda draw, line: _update(line, seconds=draw.random())),
    "another name": _both_models(name="Better Model", url="https://example.org/better"),
    "last digit": _json(RESULTS, lambda draw, value: _last_digit(draw.choice(_numbered(value)))),
    "protocols left out": _json(
        RESULTS,
        lambda draw, value: _update(
            value["tasks"]["samed2d_seg"],
            metrics=[row for row in value["tasks"]["samed2d_seg"]["metrics"] if row["protocol"] == "standard"],
        ),
    ),
}
HARMLESS = frozenset({"card rewritten", "time taken", "another name", "last digit", "protocols left out"})


def _pop(files: Files, name: str) -> None:
    del files[name]


def _last_digit(row: dict[str, Any]) -> None:
    row["value"] += 1e-14


# Unsealed: the archive itself, or a file under the old digest.

Forge = Callable[[random.Random, bytes], bytes]


def _with(name: str, content: bytes = b"x", **change: Any) -> Forge:
    """Add a member."""

    def apply(draw: random.Random, archive: bytes) -> bytes:
        members = [(zipfile.ZipInfo(old), data) for old, data in read(archive).items()]
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        for field, value in change.items():
            setattr(info, field, value)
        return pack_all([*members, (info, content)])

    return apply


def _patched(old: bytes, new: bytes) -> Forge:
    """Replace bytes of the same number in the archive, as no library would write them."""
    return lambda draw, archive: archive.replace(old, new)


def _flip(draw: random.Random, archive: bytes) -> bytes:
    place = draw.randrange(len(archive))
    return archive[:place] + bytes([archive[place] ^ (1 << draw.randrange(8))]) + archive[place + 1 :]


def _declared_small(draw: random.Random, archive: bytes) -> bytes:
    """Declare one byte for the card, in the directory of the archive only."""
    place = archive.rindex(b"PK\x01\x02", 0, archive.rindex(CARD.encode()))
    return archive[: place + 24] + struct.pack("<L", 1) + archive[place + 28 :]


def _unsealed(name: str, old: bytes, new: bytes) -> Forge:
    def apply(draw: random.Random, archive: bytes) -> bytes:
        files = read(archive)
        assert old in files[name], name
        files[name] = files[name].replace(old, new, 1)
        return pack(files)

    return apply


def _end_says(count: int) -> Forge:
    def apply(draw: random.Random, archive: bytes) -> bytes:
        place = archive.rindex(b"PK\x05\x06")
        return archive[: place + 8] + struct.pack("<2H", count, count) + archive[place + 12 :]

    return apply


RAW: dict[str, Forge] = {
    "path out of the folder": _with("../evil.txt"),
    "path out in the middle": _with("blobs/../../evil.txt"),
    "absolute path": _with("/tmp/evil.txt"),
    "drive": _with("C:/evil.txt"),
    "backslash": _with("blobs\\evil.txt"),
    "dot in a path": _with("./run.json"),
    "empty part of a path": _with("blobs//a"),
    "link": _with("blobs/link", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16),
    "link in place of a member": lambda draw, archive: _linked(archive),
    "device": _with("card.md2", external_attr=(stat.S_IFCHR | 0o666) << 16),
    "folder": _with("blobs/"),
    "name twice": lambda draw, archive: _with(draw.choice((RUN, RESULTS, LINES)))(draw, archive),
    "names of one case": lambda draw, archive: _with(draw.choice(("Run.json", "RESULTS.json", "CARD.MD")))(
        draw, archive
    ),
    "pickle": lambda draw, archive: _with(draw.choice(("predictions/x.pkl", "model.pt", "a.npy")), b"\x80\x04N.")(
        draw, archive
    ),
    "archive within": lambda draw, archive: _with(draw.choice(("more.zip", "x.tar.gz", "blobs/a.zst")))(draw, archive),
    "stranger": _with("readme.txt"),
    "target": _with("plan/vqa_rad.parquet"),
    "image": _with("images/1.png", b"\x89PNG"),
    "name too long": _with("blobs/" + "a" * 5000),
    "control character": _with("run\x07.json"),
    "bomb": _with("blobs/bomb.json", b"0" * 30_000_000),
    "bomb under a good name": lambda draw, archive: pack({**read(archive), RESULTS: b" " * 15_000_000}),
    "name that is not UTF-8": _patched(b"card.md", b"car\xe9.md"),
    "encrypted": lambda draw, archive: _flagged(archive, 0x1),
    "packed by another method": lambda draw, archive: _method(archive, 14),
    "declared too small": _declared_small,
    "more members than there are": _end_says(30_000),
    "huge form": _end_says(0xFFFF),
    "cut": lambda draw, archive: archive[: draw.randrange(len(archive))],
    "bit flipped": _flip,
    "no archive": lambda draw, archive: b"%PDF-1.7" + archive[8:200],
    "nothing": lambda draw, archive: b"",
    "member lost": lambda draw, archive: _without(draw, archive),
    "value forged": _unsealed(RESULTS, b'"value": 0.', b'"value": 1.'),
    "answer forged": _unsealed(LINES, b'"text":"no"', b'"text":"yes"'),
    "digest forged": _unsealed(INDEX, b'"sha256": "', b'"sha256": "0'),
    "index without a file": lambda draw, archive: _unlisted(archive),
    "masks forged": lambda draw, archive: pack(
        {name: (data[:-3] + b"abc" if name.startswith("blobs/") else data) for name, data in read(archive).items()}
    ),
}


def _linked(archive: bytes) -> bytes:
    members = []
    for name, data in read(archive).items():
        info = zipfile.ZipInfo(name)
        if name == CARD:
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
        members.append((info, data))
    return pack_all(members)


def _flagged(archive: bytes, flag: int) -> bytes:
    place = archive.index(b"PK\x01\x02")
    return archive[: place + 8] + struct.pack("<H", flag) + archive[place + 10 :]


def _method(archive: bytes, method: int) -> bytes:
    place = archive.index(b"PK\x01\x02")
    return archive[: place + 10] + struct.pack("<H", method) + archive[place + 12 :]


def _without(draw: random.Random, archive: bytes) -> bytes:
    files = read(archive)
    del files[draw.choice(sorted(files))]
    return pack(files)


def _unlisted(archive: bytes) -> bytes:
    files = read(archive)
    index = json.loads(files[INDEX])
    index["files"].pop(RESULTS)
    return pack({**files, INDEX: json.dumps(index).encode()})


KINDS = (*(f"sealed: {name}" for name in SEALED), *(f"raw: {name}" for name in RAW))


def mutated(kind: str, seed: int, archive: bytes) -> bytes:
    """Return a bundle that is changed in the way of one kind.

    Args:
        kind: One of KINDS.
        seed: Of the choices within the kind.
        archive: The good bundle.
    """
    draw = random.Random(f"{kind}/{seed}")
    way, _, name = kind.partition(": ")
    if way == "raw":
        return RAW[name](draw, archive)
    files = read(archive)
    SEALED[name](draw, files)
    return pack(_sealed_as_it_stands(files))
