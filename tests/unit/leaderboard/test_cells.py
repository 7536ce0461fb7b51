"""Cells of the board: published numbers and those of evaluated runs, with the same fields."""

import pytest

from harness.scoring.intervals import wilson_interval
from leaderboard.cells import BoardCell, entry_cells, table_name
from leaderboard.entry_file import read_entries
from tests.unit.leaderboard.board_samples import Write, block, number, results


class TestPublishedCells:
    def test_values_are_natural_whatever_the_paper_prints(self, shipped: list[BoardCell]) -> None:
        assert all(0 <= cell.value <= 1 for cell in shipped if cell.value is not None and cell.unit == "share")
        fraction = [c for c in shipped if c.place == "mimoseg_p1" and c.row.model == "MIMO" and c.metric == "miou"]
        assert [(cell.value, cell.printed, cell.digits) for cell in fraction] == [(0.639, "0.639", 1)]

    def test_an_accuracy_with_a_known_count_has_wilsons_interval(self, shipped: list[BoardCell]) -> None:
        (cell,) = [c for c in shipped if c.place == "vqa_rad_closed" and c.row.model == "MIMO"]
        assert cell.method == "wilson"
        assert cell.interval == pytest.approx(wilson_interval(0.588 * 272, 272))

    def test_an_accuracy_that_no_count_gives_has_none_and_a_remark(self, shipped: list[BoardCell]) -> None:
        (cell,) = [c for c in shipped if c.place == "vqa_rad_yes_no" and c.row.model == "LLaVA-v1.5-7B + PubMedVision"]
        assert cell.interval is None
        assert cell.remark is not None
        assert cell.remark[0] == "no count of 251"

    def test_dice_and_means_have_no_interval(self, shipped: list[BoardCell]) -> None:
        assert {cell.metric for cell in shipped if cell.interval} == {"choice_accuracy", "retrieval"}
        assert {cell.mean for cell in shipped if cell.interval} == {"micro"}

    def test_a_mean_that_does_not_follow_says_what_its_row_gives(self, shipped: list[BoardCell]) -> None:
        found = {
            cell.row.model: cell.remark[0]
            for cell in shipped
            if cell.place == "omnimedvqa_medplib7" and cell.remark is not None
        }
        assert found == {"MedPLIB": "row gives 59.94", "LISA": "row gives 52.70"}

    def test_a_cell_that_the_paper_leaves_out_is_unsupported(self, shipped: list[BoardCell]) -> None:
        left_out = [cell for cell in shipped if cell.unsupported is not None]
        assert len(left_out) == 42
        assert all(cell.value is None for cell in left_out)

    @pytest.mark.parametrize(("table", "words"), [("1", "Table 1"), ("Table 2", "Table 2"), ("-", "")])
    def test_a_table_is_named_in_words(self, table: str, words: str) -> None:
        assert table_name(table) == words


class TestCellsOfRuns:
    def test_a_share_has_one_decimal_of_percent_and_an_unknown_metric_keeps_its_unit(self, write: Write) -> None:
        tasks = {"t": block(number(), number(metric="mine", name="mine", value=3.5))}
        (entry,) = read_entries(write(results(tasks=tasks)))
        assert [(cell.unit, cell.digits, cell.value) for cell in entry_cells(entry)] == [
            ("share", 1, 0.5),
            ("points", 2, 3.5),
        ]

    def test_numbers_of_the_headline_come_before_others(self, write: Write) -> None:
        tasks = {"t": block(number(protocol="medplib"), number())}
        (entry,) = read_entries(write(results(tasks=tasks)))
        ordered = sorted(entry_cells(entry), key=lambda cell: cell.order)
        assert [cell.protocol for cell in ordered] == ["standard", "medplib"]

    def test_fallbacks_of_a_task_stand_in_its_row(self, write: Write) -> None:
        tasks = {"plain": block(), "helped": block(fallbacks=["box as words"])}
        (entry,) = read_entries(write(results(tasks=tasks)))
        assert [cell.row.details for cell in entry_cells(entry)] == [(), ("fallback box as words",)]

    def test_an_unsupported_task_is_a_cell_without_a_metric(self, write: Write) -> None:
        (entry,) = read_entries(write(results(tasks={}, unsupported={"vqa_rad": "gives no text"})))
        (cell,) = entry_cells(entry)
        assert (cell.place, cell.metric, cell.value, cell.unsupported) == ("vqa_rad", "", None, "gives no text")
