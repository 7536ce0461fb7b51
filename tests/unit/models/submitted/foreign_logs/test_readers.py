"""Logs of other harnesses, row by row: what is read out of each format, and what a row at fault costs."""

import base64
import csv
import hashlib
import io
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from harness.errors import DataError, SpecError
from harness.models.submitted.foreign_logs import inspect_ai, lm_eval, logged_answer, vlmevalkit
from harness.models.submitted.foreign_logs.logged_answer import LoggedAnswer, Row, UnreadRow

IMAGE = b"an image file's bytes, " * 8
URL = "data:image/png;base64," + base64.b64encode(IMAGE).decode()
SHA256 = hashlib.sha256(IMAGE).hexdigest()


def jsonl(path: Path, rows: Iterable[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def only(rows: Iterable[Row]) -> LoggedAnswer:
    (row,) = rows
    assert isinstance(row, LoggedAnswer), row
    return row


def fault(rows: Iterable[Row]) -> str:
    (row,) = rows
    assert isinstance(row, UnreadRow), row
    return row.message


# A line as lm-eval 0.4.13 wrote it, its hashes left out.
LM_EVAL: dict[str, Any] = {
    "doc_id": 3,
    "doc": {"qid": 11, "question": "Is it there?", "answer": "yes"},
    "target": "yes",
    "arguments": {"gen_args_0": {"arg_0": "Question: Is it there? Answer:", "arg_1": {"until": ["\n"]}}},
    "resps": [["yes, it is"]],
    "filtered_resps": ["yes"],
    "filter": "first_word",
    "metrics": ["exact_match"],
    "exact_match": 1.0,
}


def test_a_line_of_lm_eval_holds_the_raw_reply_the_documents_id_and_its_texts(tmp_path: Path) -> None:
    row = only(lm_eval.rows(jsonl(tmp_path / "s.jsonl", [LM_EVAL])))
    assert (row.text, row.ids, row.repeat, row.line) == ("yes, it is", ("11",), 0, 1)
    assert row.questions == ("Is it there?", "yes")
    assert row.prompt == "Question: Is it there? Answer:"


def test_a_chat_and_repetitions_of_lm_eval(tmp_path: Path) -> None:
    chat = json.dumps([{"role": "user", "content": [{"type": "text", "text": "Is it?"}]}, {"content": "Well?"}])
    line = LM_EVAL | {"arguments": [[chat, {}]], "resps": [["a", "True"]]}
    rows = list(lm_eval.rows(jsonl(tmp_path / "s.jsonl", [line])))
    assert [(row.text, row.repeat) for row in rows if isinstance(row, LoggedAnswer)] == [("a", 0), ("True", 1)]
    assert isinstance(rows[0], LoggedAnswer)
    assert rows[0].prompt == "Is it?\nWell?"


def test_a_line_of_lmms_eval_has_neither_document_nor_raw_replies(tmp_path: Path) -> None:
    line = {"doc_id": 0, "input": "<image>Is it there?", "filtered_resps": ["no"], "target": "yes"}
    row = only(lm_eval.rows(jsonl(tmp_path / "s.jsonl", [line])))
    assert (row.text, row.ids, row.prompt) == ("no", (), "<image>Is it there?")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"doc": {}, "resps": [["a"]', "cannot be read as JSON (Expecting ',' delimiter, line 1, column"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "thousands of digits"),
        ("[1]", "expected a JSON object, found list"),
        ({"doc": {}}, "has neither resps nor filtered_resps; expected a line of --log_samples"),
        ({"resps": []}, "resps: expected a list of replies, found []"),
        ({"resps": [[7]]}, "resps: expected text, found [7]"),
        ({"resps": [["a"], ["b"]]}, "resps: expected the reply to one request, found 2 requests"),
        ({"resps": [[["-1.5", "False"]], [["-2", "True"]]]}, "resps: holds log likelihoods of 2 continuations"),
        ({"filtered_resps": [["-1.5", "False"]]}, "filtered_resps: holds log likelihoods of 1 continuations"),
    ],
)
def test_a_line_at_fault_costs_itself_only(tmp_path: Path, line: Any, words: str) -> None:
    first, second = lm_eval.rows(jsonl(tmp_path / "s.jsonl", [line, LM_EVAL]))
    assert isinstance(first, UnreadRow)
    assert words in first.message
    assert isinstance(second, LoggedAnswer)
    assert second.line == 2


def test_text_that_is_not_utf_8_and_a_long_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.jsonl").write_bytes(b'{"a": "\xff"}\n')
    assert "byte 8 is not UTF-8" in fault(lm_eval.rows(tmp_path / "s.jsonl"))
    monkeypatch.setattr(lm_eval, "MOST_LINE_BYTES", 9)
    monkeypatch.setattr(vlmevalkit, "MOST_LINE_BYTES", 9)
    file = jsonl(tmp_path / "s.jsonl", ['{"prediction": "yes"}'])
    assert "has 22 bytes; expected at most 9" in fault(lm_eval.rows(file))
    assert "has 22 bytes; expected at most 9" in fault(vlmevalkit.rows(file))


# --- inspect_ai


def sample(**fields: Any) -> dict[str, Any]:
    return {
        "id": "vqa_rad/test/11",
        "epoch": 1,
        "input": [
            {"role": "user", "content": [{"type": "image", "image": URL}, {"type": "text", "text": "Is it there?"}]}
        ],
        "target": "yes",
        "metadata": {"qid": 11},
        "output": {"choices": [{"message": {"role": "assistant", "content": "yes"}, "stop_reason": "stop"}]},
    } | fields


def archive(path: Path, samples: Iterable[Any], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr("header.json", "{}")
        for number, one in enumerate(samples, start=1):
            file.writestr(f"samples/{number}_epoch_1.json", one if isinstance(one, str) else json.dumps(one))
    return path


def as_json(path: Path, samples: Iterable[Any]) -> Path:
    path.write_text(json.dumps({"version": 2, "status": "success", "eval": {}, "samples": list(samples)}))
    return path


@pytest.mark.parametrize("write", [archive, as_json])
def test_a_sample_of_inspect_holds_reply_question_and_the_digest_of_its_image(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    row = only(inspect_ai.rows(write(tmp_path / "log.eval", [sample()])))
    assert (row.text, row.status, row.repeat) == ("yes", "ok", 0)
    assert (row.ids, row.questions, row.images) == (("vqa_rad/test/11", "11"), ("Is it there?",), (SHA256,))


def test_long_texts_and_images_of_inspect_lie_among_the_attachments(tmp_path: Path) -> None:
    content = [{"type": "image", "image": "attachment://a1"}, {"type": "text", "text": "attachment://b2"}]
    reply = [{"type": "reasoning", "reasoning": "it is no"}, {"type": "text", "text": "attachment://c3"}]
    one = sample(
        input=[{"role": "user", "content": content}],
        output={"choices": [{"message": {"content": reply}, "stop_reason": "max_tokens"}]},
        attachments={"a1": URL, "b2": "Is it there?", "c3": "yes"},
        epoch=3,
    )
    row = only(inspect_ai.rows(as_json(tmp_path / "log.json", [one])))
    assert (row.text, row.status, row.repeat) == ("yes", "truncated", 2)
    assert (row.questions, row.images) == (("Is it there?",), (SHA256,))


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"error": {"message": "out of memory"}}, "model_error", "out of memory"),
        ({"output": {"choices": []}, "limit": {"type": "time"}}, "timeout", "limit of inspect_ai: time"),
        ({"output": {}}, "empty", None),
        ({"output": {"choices": [{"message": {"content": ""}, "stop_reason": "content_filter"}]}}, "refused", None),
    ],
)
def test_a_failed_sample_of_inspect_keeps_why(
    tmp_path: Path, fields: dict[str, Any], status: str, error: str | None
) -> None:
    row = only(inspect_ai.rows(as_json(tmp_path / "log.json", [sample(**fields)])))
    assert (row.status, row.error) == (status, error)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (7, "expected an object, found int"),
        (sample(epoch=0), "epoch: expected a whole number of at least 1, found 0"),
        (sample(output={"choices": [{}, {}]}), "output.choices: expected one choice, found 2 choices"),
        (sample(output={"choices": {"a": 1}}), "output.choices: expected one choice, found dict"),
        (sample(output={"choices": [{"message": 5}]}), "output: expected a message with content, found 5"),
    ],
)
def test_a_sample_of_inspect_at_fault_costs_itself_only(tmp_path: Path, one: Any, words: str) -> None:
    first, second = inspect_ai.rows(as_json(tmp_path / "log.json", [one, sample()]))
    assert isinstance(first, UnreadRow)
    assert (first.message, first.place) == (words, "sample 1")
    assert isinstance(second, LoggedAnswer)


def test_members_that_are_packed_with_zstandard_are_read(tmp_path: Path) -> None:
    content = json.dumps(sample()).encode()
    packed = zstandard.ZstdCompressor().compress(content)
    path = archive(tmp_path / "log.eval", [packed.decode("latin-1")], zipfile.ZIP_STORED)
    # `zipfile` writes no Zstandard before Python 3.14: the member is stored, and its method set afterwards.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("samples/1_epoch_1.json", packed)
    data = bytearray(path.read_bytes())
    data[8:10] = struct.pack("<H", inspect_ai.ZSTANDARD)
    central = data.index(b"PK\x01\x02")
    data[central + 10 : central + 12] = struct.pack("<H", inspect_ai.ZSTANDARD)
    path.write_bytes(bytes(data))
    assert only(inspect_ai.rows(path)).text == "yes"
    data[60:70] = b"\0" * 10
    path.write_bytes(bytes(data))
    assert "cannot be unpacked (" in fault(inspect_ai.rows(path))


def test_a_member_that_unpacks_to_too_much_or_is_damaged_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspect_ai, "MOST_MEMBER_BYTES", 2000)
    first, second = inspect_ai.rows(archive(tmp_path / "log.eval", [" " * 5000, sample()]))
    assert isinstance(first, UnreadRow)
    assert first.message == "has more than 2,000 bytes unpacked; it is not read"
    assert isinstance(second, LoggedAnswer)
    path = archive(tmp_path / "log.eval", [sample()], zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"Is it there?", b"Is it theRe?"))
    assert "cannot be unpacked (BadZipFile: Bad CRC-32" in fault(inspect_ai.rows(path))


def test_files_that_are_no_log_of_inspect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"is an archive without samples/\*\.json"):
        list(inspect_ai.rows(archive(tmp_path / "a.eval", [])))
    with pytest.raises(DataError, match="has no samples; expected a log of inspect_ai that was written with"):
        list(inspect_ai.rows(as_json(tmp_path / "a.json", [])))
    monkeypatch.setattr(inspect_ai, "MOST_WHOLE_BYTES", 9)
    with pytest.raises(DataError, match="expected at most 9; `inspect log convert --to eval`"):
        list(inspect_ai.rows(tmp_path / "a.json"))


# --- VLMEvalKit

RECORD = {
    "index": "7",
    "question": "Is it\nthere?",
    "answer": "yes",
    "image": base64.b64encode(IMAGE).decode(),
    "prediction": "no",
}


def table(path: Path, records: list[dict[str, Any]], delimiter: str) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    path.write_text(text.getvalue())
    return path


def predictions(folder: Path, kind: str, records: list[dict[str, Any]]) -> Path:
    path = folder / f"model_data.{kind}"
    if kind == "json":
        path.write_text(json.dumps(records))
    elif kind == "jsonl":
        jsonl(path, records)
    elif kind == "xlsx":
        book = pytest.importorskip("openpyxl").Workbook()
        book.active.append(list(records[0]))
        for record in records:
            book.active.append(list(record.values()))
        book.save(path)
    else:
        table(path, records, "\t" if kind == "tsv" else ",")
    return path


@pytest.mark.parametrize("kind", ["tsv", "csv", "json", "jsonl", "xlsx"])
def test_a_row_of_vlmevalkit_holds_question_reply_and_image(tmp_path: Path, kind: str) -> None:
    before = csv.field_size_limit()
    row = only(vlmevalkit.rows(predictions(tmp_path, kind, [RECORD])))
    assert (row.text, row.ids, row.images) == ("no", ("7",), (SHA256,))
    assert row.questions[-1] == row.prompt == "Is it\nthere?"
    assert "yes" not in row.questions
    assert csv.field_size_limit() == before


def test_failed_and_empty_predictions_of_vlmevalkit(tmp_path: Path) -> None:
    replies = ["Failed to obtain answer via API.", "", None, float("nan"), 3]
    found = list(vlmevalkit.rows(predictions(tmp_path, "json", [RECORD | {"prediction": one} for one in replies])))
    rows = [row for row in found if isinstance(row, LoggedAnswer)]
    assert [row.status for row in rows] == ["model_error", "empty", "empty", "empty", "ok"]
    assert (rows[0].error, rows[4].text) == (replies[0], "3")


@pytest.mark.parametrize(
    ("kind", "content", "words"),
    [
        ("tsv", "index\tprediction\n1\n", "has 1 fields; the header has 2"),
        ("json", "[5]", "expected an object, found 5"),
        ("json", '[{"index": 1}]', "has no prediction"),
        ("json", '[{"prediction": [1]}]', "prediction: expected text, found [1]"),
        ("jsonl", "{", "cannot be read as JSON"),
        ("jsonl", "5\n\n", "expected an object, found 5"),
    ],
)
def test_a_row_of_vlmevalkit_at_fault_costs_itself_only(tmp_path: Path, kind: str, content: str, words: str) -> None:
    (tmp_path / f"p.{kind}").write_text(content)
    assert words in fault(vlmevalkit.rows(tmp_path / f"p.{kind}"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.tsv", b"index\tquestion\n1\ta\n", "has no column 'prediction'; its columns are index, question"),
        ("p.csv", b"", "has no column 'prediction'; its columns are none"),
        ("p.tsv", b"\xff\xfe", "is not UTF-8 (byte 1); expected a table of VLMEvalKit"),
        ("p.json", b"{}", "expected a JSON list of rows, found dict"),
        ("p.parquet", b"PAR1", "expected xlsx, tsv, csv, json or jsonl, found a file of the kind '.parquet'"),
        ("p.pkl", pickle.dumps([RECORD]), "is a pickle, which is never read, since it can run code; set PRED_FORMAT"),
    ],
)
def test_files_that_are_no_table_of_vlmevalkit(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(vlmevalkit.rows(tmp_path / name))
    assert words in str(caught.value)


def test_a_field_that_is_longer_than_a_line_may_be_and_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = predictions(tmp_path, "tsv", [RECORD])
    monkeypatch.setattr(vlmevalkit, "MOST_LINE_BYTES", 20)
    with pytest.raises(DataError, match=r"cannot be read as a table \(field larger than field limit \(20\)\)"):
        list(vlmevalkit.rows(file))
    monkeypatch.setattr(vlmevalkit, "MOST_WHOLE_BYTES", 9)
    with pytest.raises(DataError, match="expected at most 9; leave out the column 'image'"):
        list(vlmevalkit.rows(file))


def test_a_workbook_names_the_package_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(vlmevalkit.importlib.sys.modules, "openpyxl", None)  # type: ignore[attr-defined]
    (tmp_path / "p.xlsx").write_bytes(b"")
    with pytest.raises(SpecError, match="is an Excel workbook, which needs openpyxl; pip install openpyxl, or save"):
        list(vlmevalkit.rows(tmp_path / "p.xlsx"))


def test_a_workbook_that_is_none_or_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openpyxl")
    (tmp_path / "p.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match="cannot be read as an Excel workbook"):
        list(vlmevalkit.rows(tmp_path / "p.xlsx"))
    file = predictions(tmp_path, "xlsx", [RECORD | {"question": "?" * 20_000}])
    monkeypatch.setattr(vlmevalkit, "MOST_WHOLE_BYTES", file.stat().st_size)
    with pytest.raises(DataError, match="bytes unpacked; expected at most"):
        list(vlmevalkit.rows(file))


@pytest.mark.parametrize("text", ["data:image/png;name=a,hello", "image.png", "x" * 100 + "!", "é" * 100])
def test_text_that_holds_no_image_file_has_no_digest(text: str) -> None:
    assert logged_answer.digest_of_image(text) is None
