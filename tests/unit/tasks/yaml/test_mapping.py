"""Typed reading of a mapping: a wrong value is one located fault, and a stand-in takes its place."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.tasks.yaml.mapping import Table, describe, one_of
from harness.tasks.yaml.nodes import Faults, Node, read_mapping


def table(folder: Path, text: str, known: tuple[str, ...] | None = None) -> Table:
    path = folder / "t.yaml"
    path.write_text(text)
    faults = Faults()
    document = read_mapping(path, faults)
    assert document is not None
    return Table(document, "", known, faults)


def faults(read: Table) -> list[str]:
    return [str(fault).rpartition("/")[2] for fault in sorted(read.faults.found)]


def test_right_values_are_returned_without_a_fault(tmp_path: Path) -> None:
    read = table(
        tmp_path, "a: word\nb: 3\nc: 0.5\nd: true\ne: [x, y]\nf: [1, 2.5]\ng: {h: i}\nj: [{k: l}]\n", tuple("abcdefgj")
    )
    assert (read.text("a"), read.integer("b"), read.number("c", least=0, most=1)) == ("word", 3, 0.5)
    assert (read.flag("d", False), read.texts("e"), read.numbers("f", 2)) == (True, ("x", "y"), (1.0, 2.5))
    assert (read.table("g", ("h",)).text("h"), read.tables("j", ("k",))[0].text("k")) == ("i", "l")
    assert (read.text_or_texts("a"), read.text_or_texts("e")) == (("word",), ("x", "y"))
    assert faults(read) == []


@pytest.mark.parametrize(
    ("text", "get", "stand_in", "fault"),
    [
        ("a: 3", lambda read: read.text("a"), "", "a: expected text, got the number 3 (put it in quotes)"),
        ("a: ''", lambda read: read.text("a"), "", "a: expected text, got ''"),
        ("a: true", lambda read: read.integer("a"), 1, "a: expected a whole number of at least 1, got true"),
        ("a: -1", lambda read: read.integer("a", least=0), 0, "a: expected a whole number of at least 0, got the "
         "number -1"),
        ("a: true", lambda read: read.number("a", least=0, most=2), 0, "a: expected a number from 0 to 2, got true"),
        ("a: yes", lambda read: read.flag("a", True), True, "a: expected true or false, got 'yes'"),
        ("a: on", lambda read: read.choice("a", ("one", "two")), "one", "a: expected one of 'one', 'two', got 'on' "
         "(did you mean 'one'?)"),
        ("a: [x, x]", lambda read: read.texts("a"), ("x",), "a[1]: 'x' stands in the list twice"),
        ("a: [1, true]", lambda read: read.numbers("a", 2), (0.0, 1.0), "a: expected a list of 2 numbers, got a list"),
        ("a: [x]", lambda read: read.tables("a", None)[0].items, {}, "a[0]: expected keys and values, got 'x'"),
        ("b: 1", lambda read: read.text("a"), "", "a: required key is missing"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_one_fault_and_a_stand_in(
    tmp_path: Path, text: str, get: Callable[[Table], object], stand_in: object, fault: str
) -> None:
    read = table(tmp_path, text)
    assert get(read) == stand_in
    assert faults(read) == [f"t.yaml:1: {fault}"]


def test_a_missing_key_with_a_default_is_no_fault(tmp_path: Path) -> None:
    read = table(tmp_path, "z: 1\n")
    assert (read.text("a", "x"), read.integer("b", 7), read.texts("c", ()), read.optional_text("d")) == (
        "x",
        7,
        (),
        None,
    )
    assert (read.table("e", None).items, read.tables("f", None)) == ({}, [])
    assert faults(read) == []


def test_what_was_refused_is_not_named_a_second_time(tmp_path: Path) -> None:
    read = table(tmp_path, "a: &x 1\nb: !t {c: d}\n")
    before = faults(read)
    assert (read.integer("a"), read.table("b", ("e",)).text("e")) == (1, "")
    assert faults(read) == before
    assert len(before) == 2


def test_what_the_file_says_is_told_from_what_stands_in_for_it(tmp_path: Path) -> None:
    read = table(tmp_path, "a: wrong\n")
    assert (read.says("a", "wrong"), read.says("a", "right"), read.says("b", "right")) == (True, False, False)
    assert (read.means("a", "right"), read.means("b", "right")) == (False, True)


def test_values_and_lists_in_words() -> None:
    values: list[tuple[object, str]] = [(None, "nothing"), (False, "false"), (3, "the number 3"), ("x", "'x'")]
    values += [((), "a list"), ({}, "keys and values")]
    assert [describe(Node(value, "f", 1)) for value, _ in values] == [words for _, words in values]  # type: ignore[arg-type]
    assert (one_of(["a"]), one_of(["a", "b"])) == ("'a'", "one of 'a', 'b'")
