from pathlib import Path

import pytest

from harness.tasks.yaml.nodes import MAX_BYTES, Faults, Node, Unreadable, read_heads, read_yaml


def read(tmp_path: Path, text: str | bytes) -> tuple[Node | None, list[str]]:
    """Return what a file reads as, and its faults with the folder cut off."""
    path = tmp_path / "f.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    faults = Faults()
    return read_yaml(path, faults), [line.removeprefix(f"{tmp_path}/") for line in faults.lines()]


def plain(node: Node | None) -> object:
    """Return a node without its places."""
    assert node is not None
    if isinstance(node.value, dict):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(item) for item in node.value] if isinstance(node.value, tuple) else node.value


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("no", "no"),
        ("Yes", "Yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'3'", "3"),
        ('"true"', "true"),
        ("12", 12),
        ("-3", -3),
        ("1e-3", 0.001),
        ("2.", 2.0),
        (".5", 0.5),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_scalars_follow_yaml_1_2(tmp_path: Path, written: str, meant: object) -> None:
    node, faults = read(tmp_path, f"a: {written}\n")
    assert faults == []
    value = plain(node)
    assert value == {"a": meant}
    assert isinstance(value, dict)
    assert type(value["a"]) is type(meant)


def test_every_value_knows_its_line(tmp_path: Path) -> None:
    node, _ = read(tmp_path, "# head\na: 1\nb:\n  - x\n  - {c: 2,\n     d: 3}\n")
    assert node is not None
    assert isinstance(node.value, dict)
    assert (node.line, node.value["a"].line, node.value["b"].line) == (2, 2, 3)
    items = node.value["b"].value
    assert isinstance(items, tuple)
    assert [item.line for item in items] == [4, 5]
    assert isinstance(items[1].value, dict)
    assert items[1].value["d"].line == 6


def test_all_duplicate_keys_are_found_and_the_first_counts(tmp_path: Path) -> None:
    node, faults = read(tmp_path, "a: 1\nb: {c: 1, c: 2}\na: 3\na: 4\n")
    assert plain(node) == {"a": 1, "b": {"c": 1}}
    assert faults == [
        "f.yaml:2: c: duplicate key, first in line 2; keep one of them",
        "f.yaml:3: a: duplicate key, first in line 1; keep one of them",
        "f.yaml:4: a: duplicate key, first in line 1; keep one of them",
    ]


def test_what_is_not_read_is_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    text = "a: &x 1\nb: *x\nc: !!python/name:os.system x\nd: ok\n<<: {e: 1}\n? [f]\n: 2\n"
    node, faults = read(tmp_path, text)
    assert node is not None
    assert isinstance(node.value, dict)
    assert set(node.value) == {"a", "b", "c", "d"}
    assert isinstance(node.value["b"].value, Unreadable)
    assert node.value["d"].value == "ok"
    assert faults == [
        "f.yaml:1: '&x' is an anchor, which is not read; write the value out where it is meant",
        "f.yaml:2: '*x' is an alias, which is not read; write the value out",
        "f.yaml:3: 'tag:yaml.org,2002:python/name:os.system' is a tag, which is not read; write the plain value",
        "f.yaml:5: '<<' merges are not read; write the keys out, or use include:",
        "f.yaml:6: a key must be one word",
    ]


def test_nesting_beyond_the_limit_is_refused_before_it_is_followed(tmp_path: Path) -> None:
    _, faults = read(tmp_path, f"b: 1\na: {'[' * 100_000}\n")
    assert faults == ["f.yaml:2: cannot be read as YAML: nested deeper than 16 levels"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "f.yaml:1: the file is empty; expected keys and values"),
        ("# only a comment\n", "f.yaml:1: the file is empty; expected keys and values"),
        ("a: 1\n---\nb: 2\n", "f.yaml:2: a second document begins; expected one per file"),
        ("a: 1\nb: c: d\n", "f.yaml:2: cannot be read as YAML: mapping values are not allowed here"),
        ("a: 1\nb: \x07\n", "f.yaml:2: cannot be read as YAML: the character '\\x07' is not allowed"),
        (b"a: 1\nb: \xff\n", "f.yaml:2: not UTF-8; save the file in that encoding"),
        (b"#" * (MAX_BYTES + 1), f"f.yaml:1: is larger than {MAX_BYTES} bytes; is it a task file?"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_located_fault(tmp_path: Path, text: str | bytes, fault: str) -> None:
    assert read(tmp_path, text)[1] == [fault]


def test_a_document_mark_and_a_byte_order_mark_are_no_fault(tmp_path: Path) -> None:
    node, faults = read(tmp_path, b"\xef\xbb\xbf# head\n---\na: 1\n...\n")
    assert faults == []
    assert plain(node) == {"a": 1}


def test_missing_file_is_a_fault(tmp_path: Path) -> None:
    faults = Faults()
    assert read_yaml(tmp_path / "gone.yaml", faults) is None
    assert faults.lines() == [f"{tmp_path}/gone.yaml:1: cannot be read: No such file or directory"]


def test_faults_are_sorted_by_file_and_line_and_said_once() -> None:
    faults = Faults()
    for file, line in (("b", 1), ("a", 10), ("a", 9), ("a", 9)):
        faults.add(file, line, "x")
    assert faults.lines() == ["a:9: x", "a:10: x", "b:1: x"]
    assert str(faults.error()) == "a:9: x\na:10: x\nb:1: x"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("task: x\nthis: is: broken\n", "x"),
        ("paper: {task: inner}\nlist:\n- task: item\ntask: outer\n", "outer"),
        ("prompt: 'line\n\ntask: quoted'\ntask: real\n", "real"),
        ("prompt: |\n  task: block\ntask: real\n", "real"),
        ("{title: a, task: flow}", "flow"),
        ("? [task, y]\n: task\n'task': quoted-key\n", "quoted-key"),
        ("task: first\ntask: second\n", "first"),
    ],
)
def test_heads_find_only_top_level_keys(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(text)
    faults = Faults()
    assert read_heads(path, frozenset({"task"}), faults)["task"].value == name
    assert faults.found == []


def test_heads_of_a_file_broken_before_them_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("a: b: c\ntask: x\n")
    faults = Faults()
    assert read_heads(path, frozenset({"task"}), faults) == {}
    assert faults.lines() == [f"{path}:1: cannot be read as YAML: mapping values are not allowed here"]


def test_heads_of_a_missing_file_are_none(tmp_path: Path) -> None:
    faults = Faults()
    assert read_heads(tmp_path / "gone.yaml", frozenset({"task"}), faults) == {}
    assert len(faults.found) == 1
