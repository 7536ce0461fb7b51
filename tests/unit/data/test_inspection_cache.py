"""Answers of a preparation that was cut short: given again in their order, and only as far as they hold."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.data.inspection_cache import InspectionCache, open_inspection_cache
from harness.errors import DataError
from harness.records import Json


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the answers are kept."""
    return tmp_path / "looked.jsonl"


def interrupted(path: Path, *lines: Json, torn: str = "") -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + torn)


def answers(
    looked: InspectionCache | None, *questions: Json, make: Callable[[Json], Json] = str.upper
) -> list[tuple[Json, bool]]:
    assert looked is not None
    return [looked.get_or_compute(question, lambda asked=question: make(asked)) for question in questions]


def test_answers_are_kept_while_the_block_runs_and_where_it_is_cut_short(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_inspection_cache(path) as looked:  # noqa: PT012 - the block is what is cut short
        assert answers(looked, "a", "b") == [("A", False), ("B", False)]
        raise KeyboardInterrupt
    assert [json.loads(line) for line in path.read_text().splitlines()] == [["a", "A"], ["b", "B"]]


def test_earlier_answers_come_first_and_new_ones_follow(path: Path) -> None:
    interrupted(path, ["a", "earlier"], ["b", "earlier"])
    with open_inspection_cache(path) as looked:
        assert answers(looked, "a", "b", "c") == [("earlier", True), ("earlier", True), ("C", False)]
        assert len(path.read_text().splitlines()) == 3
    assert not path.exists()


def test_a_question_that_changed_ends_what_is_given_again(path: Path) -> None:
    interrupted(path, ["a", "earlier"], ["b", "earlier"], ["c", "earlier"])
    with open_inspection_cache(path) as looked:
        assert answers(looked, "a", "b2", "c") == [("earlier", True), ("B2", False), ("C", False)]
        assert [json.loads(line)[0] for line in path.read_text().splitlines()] == ["a", "b2", "c"]


@pytest.mark.parametrize("torn", ['["b", "earl', "[1]\n", "{}\n", "\\x00\n"])
def test_a_torn_line_is_asked_again(path: Path, torn: str) -> None:
    interrupted(path, ["a", "earlier"], torn=torn)
    with open_inspection_cache(path) as looked:
        assert answers(looked, "a", "b") == [("earlier", True), ("B", False)]
        assert [json.loads(line) for line in path.read_text().splitlines()] == [["a", "earlier"], ["b", "B"]]


def test_what_could_not_be_read_is_asked_again_and_the_rest_is_not(path: Path) -> None:
    def broken(_: Json) -> Json:
        raise DataError("a: cannot be read")

    with pytest.raises(KeyboardInterrupt), open_inspection_cache(path) as looked:  # noqa: PT012 - the block is what is cut short
        with pytest.raises(DataError, match=r"^a: cannot be read$"):
            answers(looked, "a", make=broken)
        answers(looked, "b")
        raise KeyboardInterrupt
    with open_inspection_cache(path) as looked:
        assert answers(looked, "a", "b") == [("A", False), ("B", True)]


def test_while_another_process_holds_them_nothing_is_kept(path: Path) -> None:
    with open_inspection_cache(path) as looked:
        answers(looked, "a")
        with open_inspection_cache(path) as second:
            assert second is None
        assert path.exists()
