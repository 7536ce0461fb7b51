"""Tables: which numbers may share a column, which stand in the header, and the order of lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from leaderboard.cells import BoardCell, entry_cells
from leaderboard.entry_file import read_entries
from leaderboard.published.mapping import PublishedFamily, place_published
from leaderboard.published.printed import load_published
from leaderboard.site.tables import BoardTable, chapters
from tests.unit.leaderboard.board_samples import Write, block, number, printed, results

FAMILIES = (PublishedFamily("First", "about", {"samed2d_seg": "Masks"}), PublishedFamily("Rest", "about", {}))


def tables(cells: Sequence[BoardCell]) -> list[BoardTable]:
    sections = [section for chapter in chapters(FAMILIES, cells) for section in chapter.sections]
    return [section.table for section in sections if section.table is not None]


def run_cells(write: Write, *runs: dict[str, Any]) -> list[BoardCell]:
    folder = Path()
    for index, run in enumerate(runs):
        folder = write(run, f"run{index}")
    return [cell for entry in read_entries(folder) for cell in entry_cells(entry)]


class TestColumns:
    def test_no_shipped_table_holds_two_protocols_or_two_counts_in_a_column(self, shipped: list[BoardCell]) -> None:
        families = place_published(load_published()).families
        for chapter in chapters(families, shipped):
            for section in chapter.sections:
                assert section.table is not None
                for index, column in enumerate(section.table.columns):
                    cells = [cell for line in section.table.lines if (cell := line.cells[index]) is not None]
                    assert {cell.protocol for cell in cells} == {column.protocol}
                    assert len({cell.n for cell in cells}) == 1

    def test_protocols_have_columns_of_their_own_which_are_neighbours(self) -> None:
        cells = [printed("a"), printed("b", protocol="medplib"), printed("a", metric="iou", name="iou")]
        (table,) = tables(cells)
        assert [(column.protocol, column.metric) for column in table.columns] == [
            ("standard", "dice"),
            ("standard", "iou"),
            ("medplib", "dice"),
        ]
        assert [line.cells.count(None) for line in table.lines] == [1, 2]

    def test_a_column_keeps_its_key_and_shares_it_with_no_other(self, shipped: list[BoardCell]) -> None:
        families = place_published(load_published()).families
        for _ in range(2):
            for chapter in chapters(families, shipped):
                for section in chapter.sections:
                    assert section.table is not None
                    assert len({column.key for column in section.table.columns}) == len(section.table.columns)
        (table,) = tables([printed("a")])
        assert table.columns[0].key == "90e28b"  # links to a number must not break by a new build

    def test_the_lead_is_the_number_of_the_whole_that_most_models_have(self) -> None:
        iou = [printed(model, metric="iou", name="iou") for model in "ab"]
        strata = [printed(model, stratum=("modality", "ct")) for model in "abc"]
        cells = [printed("a"), *iou, *strata]
        (table,) = tables(cells)
        assert table.columns[table.lead].metric == "iou"

    def test_counts_of_questions_never_share_a_column(self) -> None:
        (table,) = tables([printed("a", n=251), printed("b", n=272), printed("c")])
        assert [column.n for column in table.columns] == [251, 272, None]

    def test_a_published_column_without_a_count_says_so_beside_one_that_has_it(self, write: Write) -> None:
        (table,) = tables([printed("a", n=251), printed("b"), *run_cells(write, results())])
        (without,) = tables([printed("a"), printed("b")])
        assert [table.has_no_n(index) for index in range(2)] == [False, True]
        assert not without.has_no_n(0)

    def test_a_run_joins_the_published_column_of_its_own_count_only(self, write: Write) -> None:
        run = run_cells(write, results())  # n = 20
        (same,) = tables([printed("a", n=20), *run])
        (other,) = tables([printed("a", n=21), *run])
        assert [column.n for column in same.columns] == [20]
        assert [column.n for column in other.columns] == [21, None]

    def test_runs_on_other_data_or_versions_have_columns_of_their_own(self, write: Write) -> None:
        tasks = {"samed2d_seg": block(data_digest="ef" * 32)}
        (table,) = tables(run_cells(write, results("a"), results("b", tasks=tasks)))
        assert [column.basis[1] for column in table.columns] == ["data cdcdcdcd", "data efefefef"]
        assert [line.cells.count(None) for line in table.lines] == [1, 1]

    def test_real_and_phantom_never_meet(self, write: Write) -> None:
        with pytest.raises(AssertionError, match="phantom numbers stand on a page of their own"):
            chapters(FAMILIES, [printed("a"), *run_cells(write, results(data="phantom"))])

    def test_the_whole_comes_before_strata_which_stand_alone_where_there_is_no_whole(self) -> None:
        stratum = ("modality", "ct")
        (both,) = tables([printed("a"), printed("a", stratum=stratum)])
        (alone,) = tables([printed("a", stratum=stratum)])
        assert [column.stratum for column in both.overall().columns] == [None]
        assert [column.stratum for column in alone.overall().columns] == [stratum]

    def test_strata_make_one_table_a_key_and_metric(self) -> None:
        cells = [
            printed("a", stratum=("modality", code), metric=m, name=m) for m in ("dice", "iou") for code in ("ct", "mr")
        ]
        (table,) = tables([*cells, printed("a", stratum=("size", "small"))])
        found = [(key, [[c.label for c in t.columns] for t in group]) for key, group in table.by_stratum()]
        assert found == [("modality", [["Dice", "Dice"], ["IoU", "IoU"]]), ("size", [["Dice"]])]


class TestLines:
    def test_the_best_comes_first_and_those_without_a_number_last(self) -> None:
        (table,) = tables([printed("low", 0.1), printed("none", None, unsupported=""), printed("high", 0.9)])
        assert [line.row.model for line in table.lines] == ["high", "low", "none"]

    def test_where_less_is_better_the_least_comes_first(self) -> None:
        (table,) = tables([printed(m, v, higher_is_better=False) for m, v in (("far", 9.0), ("near", 1.0))])
        assert [line.row.model for line in table.lines] == ["near", "far"]

    def test_a_model_in_two_tables_of_a_paper_is_one_line(self) -> None:
        (table,) = tables([printed("a"), printed("a", 0.4, metric="iou", name="iou", table="Table 2")])
        (line,) = table.lines
        assert line.row.printed_in == (("P", "Table 1"), ("P", "Table 2"))
        assert [cell.value for cell in line.cells if cell] == [0.5, 0.4]

    def test_two_tables_that_print_different_values_stay_two_lines(self) -> None:
        (table,) = tables([printed("a"), printed("a", 0.6, table="Table 2")])
        assert [line.row.printed_in for line in table.lines] == [(("P", "Table 2"),), (("P", "Table 1"),)]

    def test_another_setting_stays_another_line(self) -> None:
        (table,) = tables([printed("a"), printed("a", details=("fine-tuned",), table="Table 2")])
        assert len(table.lines) == 2

    def test_means_of_evaluated_models_over_different_samples_are_warned_of(self, write: Write) -> None:
        more, fewer = (results(model, tasks={"samed2d_seg": block(number(n=n))}) for model, n in (("a", 72), ("b", 65)))
        (table,) = tables([*run_cells(write, more, fewer), printed("c", n=20)])
        assert table.uneven is not None
        assert table.uneven.startswith("Means over different samples: Dice (micro) over 65 to 72 samples. ")

    def test_means_over_the_same_samples_need_no_warning(self, write: Write) -> None:
        (table,) = tables([*run_cells(write, results("a"), results("b")), printed("c", n=21)])
        assert table.uneven is None

    def test_floor_and_ceiling_stand_in_the_head(self, write: Write) -> None:
        runs = [results(f"baseline:{name}") for name in ("empty", "oracle", "random")]
        (table,) = tables(run_cells(write, *runs, results("mine")))
        assert [name for name, _ in table.bounds] == ["ceiling", "random", "floor"]
        assert [line.row.model for line in table.lines] == ["mine"]

    def test_a_task_that_a_run_does_not_support_is_a_line_of_x(self, write: Write) -> None:
        cannot = results("cannot", tasks={}, unsupported={"samed2d_seg": "gives no masks"})
        (table,) = tables(run_cells(write, results("can"), cannot))
        line = table.lines[-1]
        assert line.row.model == "cannot"
        assert [cell.unsupported for cell in line.cells if cell] == ["gives no masks"]

    def test_a_task_of_no_family_comes_in_the_last_one(self, write: Write) -> None:
        cells = run_cells(write, results(tasks={"new_task": block(number())}))
        (chapter,) = chapters(FAMILIES, cells)
        assert (chapter.name, [section.place for section in chapter.sections]) == ("Rest", ["new_task"])


def test_a_column_says_how_its_number_can_be_gamed() -> None:
    of = {name: tables([printed("a", protocol=name)])[0].columns[0] for name in ("standard", "unknown", "sam-med2d")}
    assert of["standard"].certificate is of["unknown"].certificate is None
    assert "No mask is worth 1" in (of["sam-med2d"].certificate or "")


class TestReproduction:
    """`number()` has the value 0.5 and the interval 0.4 to 0.6."""

    def reproduces(self, write: Write, *published: BoardCell, name: str = "Med-LLM 7B", **change: Any) -> bool:
        model = {"id": "predictions", "oracle": False, "name": name}
        run = results(tasks={"samed2d_seg": block(number(**change))}) | {"model": model}
        (table,) = tables([*published, *run_cells(write, run)])
        assert not any(line.reproduces for line in table.lines if line.row.source == "published")
        (own,) = [line for line in table.lines if line.row.source == "reproduced"]
        return own.reproduces

    def test_a_published_number_of_the_same_model_within_the_interval_is_met(self, write: Write) -> None:
        assert self.reproduces(write, printed("MedLLM-7b", 0.59), printed("other", 0.1))

    def test_one_beyond_the_interval_is_not(self, write: Write) -> None:
        assert not self.reproduces(write, printed("MedLLM-7b", 0.61))

    def test_one_that_rounds_to_the_bound_is_met(self, write: Write) -> None:
        assert self.reproduces(write, printed("MedLLM-7b", 0.6004))

    def test_of_several_published_numbers_all_must_be_met(self, write: Write) -> None:
        assert not self.reproduces(
            write, printed("MedLLM-7b", 0.5), printed("MedLLM-7b", 0.9, table="Table 2", details=("other",))
        )

    def test_the_number_of_another_model_says_nothing(self, write: Write) -> None:
        assert not self.reproduces(write, printed("Other", 0.5))

    def test_a_number_that_is_not_printed_says_nothing(self, write: Write) -> None:
        assert not self.reproduces(write, printed("MedLLM-7b", None, unsupported=""), name="Med LLM 7b")


def test_without_an_interval_nothing_is_reproduced(write: Write) -> None:
    model = {"id": "predictions", "oracle": False, "name": "M"}
    run = results(tasks={"samed2d_seg": block(number(ci=None))}) | {"model": model}
    (table,) = tables([printed("m", 0.5), *run_cells(write, run)])
    assert not any(line.reproduces for line in table.lines)
