"""Rows of tables: delimiters, encodings, quotes, JSON in both forms, chats, parquet; and what ends the reading."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.question_tables.rows import Row, TableFile, cell_text, flat_chat, is_table
from harness.errors import DataError


def table(root: Path, name: str, content: str | bytes, **settings: str) -> TableFile:
    data = content.encode() if isinstance(content, str) else content
    (root / name).write_bytes(data)
    return TableFile(files=ReleaseFiles(root=root, derived=root), path=name, **settings)


def rows(found: TableFile, integrity: Integrity | None = None) -> list[Row]:
    return list(found.rows(integrity or Integrity()))


def cells(found: TableFile) -> list[dict[str, Any]]:
    return [dict(row.cells) for row in rows(found)]


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_that_finds_most_columns(tmp_path: Path, mark: str) -> None:
    text = f'question{mark}answer{mark}hint\n"Is it a{mark} b?"{mark}yes{mark}x\n'
    assert cells(table(tmp_path, "q.csv", text)) == [{"question": f"Is it a{mark} b?", "answer": "yes", "hint": "x"}]


def test_a_tsv_file_is_cut_at_tabs_alone(tmp_path: Path) -> None:
    found = table(tmp_path, "q.tsv", "a,b,c,d\tanswer\n1,2,3,4\tyes\n")
    assert cells(found) == [{"a,b,c,d": "1,2,3,4", "answer": "yes"}]
    assert found.columns() == ("a,b,c,d", "answer")


def test_a_named_delimiter_counts(tmp_path: Path) -> None:
    assert cells(table(tmp_path, "q.csv", "a#b,c\n1#2,3\n", delimiter="#")) == [{"a": "1", "b,c": "2,3"}]


def test_words_for_nothing_are_texts(tmp_path: Path) -> None:
    words = ["NA", "None", "null", "nan", "No", "1.0", "#N/A"]
    found = cells(table(tmp_path, "q.csv", "answer,x\n" + "".join(f"{word},\n" for word in words)))
    assert [row["answer"] for row in found] == words


def test_places_are_lines_of_the_file_whatever_lies_in_quotes(tmp_path: Path) -> None:
    found = rows(table(tmp_path, "q.csv", 'question,answer\n"one\ntwo",a\n\nthree,b\n"four\r\nfive",c\nsix,d\n'))
    assert [(row.place, row.number) for row in found] == [
        ("q.csv:2", 0),
        ("q.csv:5", 1),
        ("q.csv:6", 2),
        ("q.csv:8", 3),
    ]
    assert found[0].cells["question"] == "one\ntwo"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("name", ["q.csv", "q.jsonl"])
def test_a_mark_at_the_beginning_says_the_encoding(tmp_path: Path, encoding: str, name: str) -> None:
    text = "frage,antwort\nGroß?,ja\n" if name == "q.csv" else '{"frage": "Groß?", "antwort": "ja"}\n'
    integrity = Integrity()
    (row,) = rows(table(tmp_path, name, text.encode(encoding)), integrity)
    assert row.cells == {"frage": "Groß?", "antwort": "ja"}
    assert bool(integrity.repairs) == (encoding != "utf-8-sig")


def test_a_named_encoding_is_read_and_another_one_named_with_its_line(tmp_path: Path) -> None:
    content = "frage,antwort\nGut?,ja\nGroß?,ja\n".encode("cp1252")
    assert cells(table(tmp_path, "q.csv", content, encoding="cp1252"))[1]["frage"] == "Groß?"
    words = r"q\.csv:3: expected UTF-8, found byte 0xDF behind b'Gro'; save the file as UTF-8, or set release\.options"
    with pytest.raises(DataError, match=words):
        rows(table(tmp_path, "q.csv", content))
    with pytest.raises(DataError, match=r"h\.csv:1: expected UTF-8, found byte 0xE9"):
        table(tmp_path, "h.csv", "qué,é\n".encode("latin-1")).columns()
    with pytest.raises(DataError, match=r"q\.jsonl:1: expected UTF-8"):
        rows(table(tmp_path, "q.jsonl", '{"a": "ß"}'.encode("cp1252")))


def test_utf_16_without_a_mark_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"found zero bytes; if it is UTF-16, save it as UTF-8 or set .* utf-16-le"):
        rows(table(tmp_path, "q.csv", "a,b\n1,2\n".encode("utf-16-le")))
    assert cells(table(tmp_path, "q.csv", "a,b\n1,2\n".encode("utf-16-le"), encoding="utf-16-le")) == [
        {"a": "1", "b": "2"}
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\nx,y,z\n", r"q\.csv:3: expected 2 cells as in the header, found 3; put a cell that holds ','"),
        ('a,b\n1,2\n"x,y\n', r"q\.csv:3: cells and quotes do not fit"),
        ('a,b\n1,2\n"x" y,z\n', r"q\.csv:3: cells and quotes do not fit"),
        ("a,b,a\n1,2,3\n", r"q\.csv:1: column 'a' occurs in the header twice"),
        ("", r"q\.csv:1: expected the names of the columns, found ''"),
    ],
)
def test_a_torn_table_ends_the_reading_at_its_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        rows(table(tmp_path, "q.csv", text))


def test_a_short_row_is_filled_and_counted_and_empty_cells_beyond_the_header_do_not_matter(tmp_path: Path) -> None:
    integrity = Integrity()
    found = rows(table(tmp_path, "q.csv", "a,b\n1\n2,3,,\n"), integrity)
    assert [dict(row.cells) for row in found] == [{"a": "1", "b": ""}, {"a": "2", "b": "3"}]
    assert integrity.repairs == {"short_row_padded": 1}


def test_a_cell_may_be_as_long_as_an_image(tmp_path: Path) -> None:
    assert len(cells(table(tmp_path, "q.tsv", f"image\tanswer\n{'A' * 400_000}\tyes\n"))[0]["image"]) == 400_000


@pytest.mark.parametrize("name", ["q.json", "q.jsonl", "q.ndjson"])
def test_json_lists_and_json_lines_are_known_by_their_first_character(tmp_path: Path, name: str) -> None:
    records = [{"a": 1}, {"b": None}]
    listed = rows(table(tmp_path, name, json.dumps(records)))
    assert [row.place for row in listed] == [f"{name}[0]", f"{name}[1]"]
    lined = table(tmp_path, name, "\n\n".join(map(json.dumps, records)))
    assert [row.place for row in rows(lined)] == [f"{name}:1", f"{name}:3"]
    assert lined.columns() == ("a", "b")


def test_what_is_no_record_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"q\.jsonl:2: expected one JSON object a line, or a file that is one JSON list"
    ):
        rows(table(tmp_path, "q.jsonl", '{"a": 1}\n{"a": \n'))
    with pytest.raises(DataError, match=r"q\.json\[1\]: expected a JSON object with a question, found '3'"):
        rows(table(tmp_path, "q.json", '[{"a": 1}, 3]'))
    with pytest.raises(DataError, match=r"q\.json: expected a JSON list in UTF-8, found UTF-16; save it as UTF-8"):
        rows(table(tmp_path, "q.json", '[{"a": 1}]'.encode("utf-16")))


def test_parquet_is_read_with_images_and_missing_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"question": ["a", "b"], "image": [{"bytes": b"x", "path": "p"}, None], "n": [1.0, None]})
    frame.to_parquet(tmp_path / "q.parquet")
    found = TableFile(files=ReleaseFiles(root=tmp_path, derived=tmp_path), path="q.parquet")
    assert found.columns() == ("question", "image", "n")
    first, second = rows(found)
    assert (first.place, first.cells["image"]["bytes"]) == ("q.parquet[0]", b"x")
    assert cell_text(second.cells["n"], "", "n", Integrity()) == ""
    assert [dict(row.cells) for row in found.rows(Integrity(), columns=("question",))] == [
        {"question": "a"},
        {"question": "b"},
    ]
    for method in (found.columns, lambda: rows(found)):
        (tmp_path / "q.parquet").write_bytes(b"PAR1 nothing")
        with pytest.raises(DataError, match=r"q\.parquet: expected parquet, found .*; is the file complete\?"):
            method()


def turns(
    *said: str, keys: tuple[str, str] = ("from", "value"), roles: tuple[str, str] = ("human", "gpt")
) -> list[Any]:
    return [{keys[0]: roles[number % 2], keys[1]: text} for number, text in enumerate(said)]


def test_of_a_chat_the_first_question_and_its_answer_count() -> None:
    flat = flat_chat({"id": 7, "conversations": turns("<image>\nWhat?", "A mass", "Where?", "Left")})
    assert (flat["question"], flat["answer"], flat["later_turns"]) == ("<image>\nWhat?", "A mass", 1)
    openai = turns("x", "Yes", keys=("role", "content"), roles=("user", "assistant"))
    openai[0]["content"] = [{"type": "image_url"}, {"type": "text", "text": "Is it?"}]
    flat = flat_chat({"messages": [{"role": "system", "content": "Be brief."}, *openai]})
    assert (flat["question"], flat["answer"], flat["system"]) == ("<image>\nIs it?", "Yes", "Be brief.")


def test_what_a_record_says_itself_counts_more_than_its_chat() -> None:
    assert flat_chat({"question": "own", "conversations": turns("other", "yes")})["question"] == "own"
    assert flat_chat({"conversations": "none"}) == {"conversations": "none"}


def test_numbers_become_texts_and_are_counted() -> None:
    integrity = Integrity()
    values = [None, float("nan"), " a ", 3, 3.0, 2.5, True]
    assert [cell_text(value, "q:1", "answer", integrity) for value in values] == ["", "", "a", "3", "3", "2.5", "true"]
    assert integrity.repairs == {"answer_cast_to_text": 4}


def test_tables_are_known_by_their_suffix() -> None:
    assert [is_table(name) for name in ("a.CSV", "a.tsv", "a.parquet", "a.xlsx", "csv")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_halves_of_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    integrity = Integrity()
    found = rows(table(tmp_path, "q.jsonl", '{"a": "x\\ud83d", "b": ["\\ud83d\\ude00"]}\n{"a": "ü"}\n'), integrity)
    assert [dict(row.cells) for row in found] == [{"a": "x\ufffd", "b": ["\U0001f600"]}, {"a": "ü"}]
    assert integrity.repairs == {"broken_character_replaced": 1}
