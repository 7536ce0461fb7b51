"""`--model-args`: what a value is read as."""

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.models.arguments import parse_arguments
from harness.records import Json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("text=yes", {"text": "yes"}),
        ("text=3", {"text": 3}),
        ("a=1.5,b=true,c=null", {"a": 1.5, "b": True, "c": None}),
        (" a = 1 , b = x ", {"a": 1, "b": "x"}),
        ("text=", {"text": ""}),
        ("text=3 lesions,sleep=1", {"text": "3 lesions", "sleep": 1}),
        ('text="left, upper",n=1', {"text": "left, upper", "n": 1}),
        ('text="a \\"b, c\\""', {"text": 'a "b, c"'}),
        ('text=5" lesion,n=1', {"text": '5" lesion', "n": 1}),
        ('a=[1, {"b": ","}],c=2', {"a": [1, {"b": ","}], "c": 2}),
        ("value=NaN", {"value": "NaN"}),
        ("value=-Infinity,", {"value": "-Infinity"}),
        ("equation=a=b", {"equation": "a=b"}),
        ("path=C:/x/y.bin", {"path": "C:/x/y.bin"}),
    ],
)
def test_values_are_json_where_they_parse_and_text_elsewhere(text: str, expected: dict[str, Json]) -> None:
    assert parse_arguments(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "--model-args: expected name=value, found 'yes'; a text that holds a comma stands in double quotes"),
        ("a=1,3b=2", "--model-args: expected name=value, found '3b=2'"),
        ("text=left, upper", "--model-args: expected name=value, found ' upper'"),
        ("a=1,a=2", "--model-args: 'a' is given twice"),
    ],
)
def test_what_is_no_argument_is_named(text: str, expected: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_arguments(text)
    assert str(caught.value).startswith(expected)


def test_a_file_gives_the_arguments(tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text("text: no\nlayers: [1, 2]\n", encoding="utf-8")
    assert parse_arguments(f"@{file}") == {"text": "no", "layers": [1, 2]}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("- a\n", "expected a mapping of argument names to values"),
        ("3: a\n", "expected a mapping of argument names to values"),
        ("a: 'b\n", "while scanning a quoted scalar"),
        ("day: 2026-01-01\n", "day: expected a value that JSON can hold: Object of type date"),
        ("x: .nan\n", "x: expected a value that JSON can hold: Out of range float"),
    ],
)
def test_a_file_that_holds_no_arguments_is_named(content: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "model.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        parse_arguments(f"@{file}")
    assert str(caught.value).startswith(f"--model-args @{file}: ")
    assert expected in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SpecError, match=r"--model-args @nowhere\.yaml: no such file"):
        parse_arguments("@nowhere.yaml")
