"""Finding and reading runs that want to stand on the board."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError
from leaderboard.entry_file import MOST_BYTES, find_entries, read_entries
from tests.unit.leaderboard.board_samples import Write, block, number, results


def fault(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_entries(folder)
    return str(caught.value).replace(f"{folder}/", "")


class TestFinding:
    def test_a_folder_with_several_runs_is_searched_at_any_depth(self, write: Write) -> None:
        write(results(), "b/deep")
        folder = write(results(), "a")
        assert [name for name, _ in find_entries(folder)] == ["a", "b/deep"]

    def test_a_run_directory_is_one_entry(self, write: Write) -> None:
        folder = write(results(), "a")
        assert [name for name, _ in find_entries(folder / "a")] == ["a"]

    def test_a_results_file_is_one_entry(self, write: Write) -> None:
        folder = write(results(), "a")
        assert [name for name, _ in find_entries(folder / "a" / "results.json")] == ["a"]

    def test_json_files_of_the_folder_itself_are_entries(self, tmp_path: Path) -> None:
        (tmp_path / "mine.json").write_text(json.dumps(results()))
        assert [entry.name for entry in read_entries(tmp_path)] == ["mine"]

    def test_a_folder_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"expected a run directory, a results\.json, or a folder that holds some"):
            find_entries(tmp_path / "nothing")


class TestReading:
    def test_a_run_is_read_with_its_numbers(self, write: Write) -> None:
        (entry,) = read_entries(write(results(model="m", unsupported={"vqa_rad": "no text"})))
        (task,) = entry.blocks
        (row,) = task.numbers
        assert (entry.model, entry.data, entry.limited) == ("m", "real", False)
        assert (task.name, task.basis) == ("samed2d_seg", ("version 1", "data cdcdcdcd"))
        assert (row.value, row.interval, row.n, row.failed) == (0.5, (0.4, 0.6), 20, 1)
        assert entry.unsupported == {"vqa_rad": "no text"}

    def test_a_group_stands_on_the_basis_and_the_least_coverage_of_its_members(self, write: Write) -> None:
        mean = {"metric": "dice", "name": "dice", "protocol": "standard", "mean": "macro", "value": 0.3}
        groups = {"both": {"combine": "macro", "members": ["a", "b"], "metrics": [mean]}}
        tasks = {"a": block(coverage=0.9), "b": block(coverage=0.8)}
        entry = read_entries(write(results(tasks=tasks, groups=groups)))[0]
        group = entry.blocks[-1]
        assert (group.name, group.coverage) == ("both", 0.8)
        assert group.basis == ("a version 1 data cdcdcdcd", "b version 1 data cdcdcdcd")
        assert (group.numbers[0].value, group.numbers[0].interval, group.numbers[0].n) == (0.3, None, None)

    def test_arguments_of_a_model_are_shortened(self, write: Write) -> None:
        model = {"id": "m", "arguments": {"by": "question", "text": "x" * 200}, "oracle": False}
        entry = read_entries(write(results() | {"model": model}))[0]
        assert entry.arguments[0] == "by=question"
        assert len(entry.arguments[1]) == len("text=") + 80

    def test_a_model_may_be_described(self, write: Write) -> None:
        described = {
            "name": "Ours",
            "url": "https://example.org/ours",
            "paper": "Ours, 2026",
            "params": 7_240_000_000,
            "licence": "Apache-2.0",
        }
        entry = read_entries(write(results() | {"model": {"id": "predictions", "oracle": False, **described}}))[0]
        assert (entry.model, entry.title, entry.url) == ("predictions", "Ours", "https://example.org/ours")
        assert entry.described == ("7.24B parameters", "Ours, 2026", "Apache-2.0")

    def test_a_model_without_a_description_has_its_id(self, write: Write) -> None:
        entry = read_entries(write(results(model="m")))[0]
        assert (entry.model, entry.title, entry.url, entry.described) == ("m", "", None, ())


class TestRefusing:
    @pytest.mark.parametrize(
        ("described", "message"),
        [
            (
                {"url": "javascript:alert(1)"},
                "url: expected an address that begins with https:// or http://, got 'java",
            ),
            ({"url": "https:"}, "url: expected an address that begins with https:// or http://, got 'https:'"),
            (
                {"url": "https://[::1"},
                "url: expected an address that begins with https:// or http://, got 'https://[::1'",
            ),
            ({"name": ""}, "name: expected text of at most 2000 characters, got empty text"),
            ({"name": "a\u202eb"}, "name: expected at most 500 characters that can be shown"),
            ({"paper": "p" * 501}, "paper: expected at most 500 characters that can be shown"),
            ({"licence": 3}, "licence: expected text of at most 2000 characters, got the number 3"),
            ({"params": "7B"}, "params: expected a whole number of at least 0, got text"),
            ({"params": 10**17}, "params: expected at most 10,000,000,000,000,000 parameters"),
        ],
    )
    def test_a_wrong_description_is_named(self, write: Write, described: dict[str, Any], message: str) -> None:
        folder = write(results() | {"model": {"id": "m", "oracle": False, **described}})
        assert fault(folder).startswith(f"run/results.json: model.{message}")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"schema": 2}, "schema: expected 1, the results of a run; is this another kind of file?"),
            ({"data": "imagined"}, "data: expected real or phantom, got 'imagined'"),
            ({"limited": 0}, "limited: expected true or false, got the number 0"),
            ({"tasks": []}, "tasks: expected an object, got a list"),
            (
                {"model": {"id": "", "oracle": False}},
                "model.id: expected text of at most 2000 characters, got empty text",
            ),
            (
                {"model": {"id": "\ud800", "oracle": False}},
                "model.id: holds half of a surrogate pair; expected text that can be written as UTF-8",
            ),
        ],
    )
    def test_a_wrong_value_is_named_with_its_place(self, write: Write, change: dict[str, Any], message: str) -> None:
        assert fault(write(results() | change)) == f"run/results.json: {message}"

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"value": "0.5"}, "value: expected a finite number, got text"),
            ({"value": True}, "value: expected a finite number, got true or false"),
            ({"n": -1}, "n: expected a whole number of at least 0, got the number -1"),
            ({"ci": [0.6, 0.4]}, "ci: expected [low, high]"),
            ({"ci": [0.6]}, "ci: expected [low, high]"),
            ({"mean": "median"}, "mean: expected micro or macro or pooled, got 'median'"),
            ({"stratum": {"a": "b", "c": "d"}}, "stratum: expected one key with its value, got 2"),
            ({"metric": None}, "metric: expected text of at most 2000 characters, got nothing"),
        ],
    )
    def test_a_wrong_row_is_named_with_its_place(self, write: Write, change: dict[str, Any], message: str) -> None:
        folder = write(results(tasks={"t": block(number(**change))}))
        assert fault(folder) == f"run/results.json: tasks.t.metrics[0].{message}"

    def test_a_coverage_beyond_one_is_refused(self, write: Write) -> None:
        folder = write(results(tasks={"t": block(coverage=1.5)}))
        assert fault(folder) == "run/results.json: tasks.t.coverage: expected a share of 0 to 1, got 1.5"

    def test_a_missing_list_is_refused(self, write: Write) -> None:
        folder = write(results(tasks={"t": block(metrics=None)}))
        assert fault(folder) == "run/results.json: tasks.t.metrics: expected a list, got nothing"

    def test_faults_of_several_runs_are_reported_together(self, write: Write) -> None:
        write(results(schema=3), "a")
        lines = fault(write(results(data="drawn"), "b")).splitlines()
        assert [line.partition(":")[0] for line in lines] == ["a/results.json", "b/results.json"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "cannot be read as JSON"),
            ('{"schema": NaN}', "NaN is not a number here"),
            ("[" * 100_000, "cannot be read"),
        ],
    )
    def test_a_file_that_is_not_json_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        (tmp_path / "bad.json").write_text(text)
        assert message in fault(tmp_path)

    def test_a_huge_file_is_refused_unread(self, tmp_path: Path) -> None:
        with (tmp_path / "huge.json").open("wb") as file:
            file.truncate(MOST_BYTES + 1)
        assert fault(tmp_path) == f"huge.json: is larger than {MOST_BYTES} bytes; expected a results.json"
