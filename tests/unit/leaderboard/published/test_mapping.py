"""mapping.yaml: every published cell has one place or a reason; what does not fit is named with file and line."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from leaderboard.published.mapping import Published, place_published
from leaderboard.published.printed import PublishedCell, load_published

# Metrics and protocols that print the papers' numbers, as the project names them.
METRICS = {
    ("choice_accuracy", "omnimedvqa-qa"),
    ("choice_accuracy", "medplib"),
    ("choice_accuracy", "huatuo"),
    ("choice_accuracy", "mmmu"),
    ("choice_accuracy", "m3d"),
    ("token_prf", "medplib"),
    ("dice", "medplib"),
    ("dice", "m3d"),
    ("miou", "glamm"),
    ("ap50", "glamm"),
    ("mask_to_entity_f1", "mimo"),
    ("rouge", "mimo"),
    ("bleu", "mimo"),
    ("meteor", "meteor-1.5"),
    ("retrieval", "m3d"),
    ("bleu", "m3d"),
    ("rouge", "m3d"),
    ("meteor", "m3d"),
    ("bertscore", "standard"),
    ("judge", "m3d"),
}


def cell(index: int = 0, **fields: Any) -> PublishedCell:
    """Return a cell of a made-up table."""
    common = {"paper": "P", "table": "1", "model": "M", "benchmark": "B", "subset": "ct", "metric": "accuracy"}
    return PublishedCell(index=index, **{**common, "params": None, "note": None, "value": Decimal("50.5"), **fields})


HEAD = """\
places:
  - family: F
    about: A family.
    of: {task_a: Task A}
"""
SELECTOR = """\
cells:
  - where: {paper: P}
    place: task_a
    metric: dice
    protocol: medplib
    mean: micro
    scale: percent
"""


def place(tmp_path: Path, text: str, *cells: PublishedCell) -> Published:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    return place_published(cells or (cell(),), path)


def fault(tmp_path: Path, text: str, *cells: PublishedCell) -> str:
    """Return the message of the one error a mapping brings, without the folder."""
    with pytest.raises(SpecError) as caught:
        place(tmp_path, text, *cells)
    return str(caught.value).replace(f"{tmp_path}/", "")


@pytest.fixture(scope="module")
def shipped() -> Published:
    return place_published(load_published())


class TestTheShippedMapping:
    def test_every_published_cell_has_exactly_one_place_or_a_reason(self, shipped: Published) -> None:
        assert len(shipped.cells) == 1016
        assert all((item.place is None) != (item.unmapped is None) for item in shipped.cells)

    def test_names_only_metrics_and_protocols_of_the_project(self, shipped: Published) -> None:
        assert {(item.place.metric, item.place.protocol) for item in shipped.cells if item.place} == METRICS

    def test_two_cells_share_a_place_only_where_two_tables_print_them(self, shipped: Published) -> None:
        seen = Counter(
            (item.cell.paper, item.cell.table, item.cell.model, item.cell.note, item.place)
            for item in shipped.cells
            if item.place
        )
        assert seen.most_common(1)[0][1] == 1

    def test_own_rows_of_medplib_and_rows_it_took_over_stand_under_different_protocols(
        self, shipped: Published
    ) -> None:
        rows = {
            item.cell.model: item.place.protocol
            for item in shipped.cells
            if item.place and item.place.place == "omnimedvqa_medplib7"
        }
        assert {model for model, protocol in rows.items() if protocol == "medplib"} == {
            "MedPLIB",
            "MedPLIB-w/o MoE",
            "LISA",
        }
        assert len(rows) == 13

    def test_rows_that_mimo_repeats_keep_the_denominator_of_who_ran_them(self, shipped: Published) -> None:
        found = {
            (item.cell.model, item.place.place, item.place.n, item.place.run_by)
            for item in shipped.cells
            if item.place and item.cell.paper.startswith("MIMO") and item.place.place.startswith("vqa_rad_")
        }
        assert ("MIMO", "vqa_rad_closed", 272, "MIMO (CVPR 2025)") in found
        assert ("Med-Flamingo", "vqa_rad_yes_no", 251, "HuatuoGPT-Vision (EMNLP 2024)") in found

    def test_a_mean_over_modalities_is_macro_and_its_members_are_strata(self, shipped: Published) -> None:
        dice = [item.place for item in shipped.cells if item.place and item.place.place == "mecovqa_g"]
        assert {(p.mean, p.over, p.stratum) for p in dice if p.stratum is None} == {("macro", "modality", None)}
        assert {p.stratum for p in dice if p.stratum} == {("modality", code) for code in ("derm", "ct", "pet")}

    def test_mimo_prints_fractions_and_the_judge_points(self, shipped: Published) -> None:
        scales = {(item.cell.paper, item.place.scale) for item in shipped.cells if item.place}
        assert ("MIMO (CVPR 2025)", "fraction") in scales
        judged = {item.place.scale for item in shipped.cells if item.place and item.place.metric == "judge"}
        assert judged == {"points"}

    def test_an_ablation_has_its_setting_in_words_and_no_raw_note(self, shipped: Published) -> None:
        rows = [item.place for item in shipped.cells if item.place and item.cell.table == "Table 7"]
        assert {row.setting for row in rows} >= {"ablation, frozen vision encoder", "ablation, the full model"}
        assert {row.note for row in rows} == {None}

    def test_a_text_score_without_a_name_has_no_place(self, shipped: Published) -> None:
        reasons = {item.unmapped for item in shipped.cells if item.cell.metric == "unspecified text score"}
        assert reasons == {
            "An ablation on 400 questions that are not released, by a text score the paper does not name."
        }

    def test_its_transcribers_recomputed_means_are_among_ours(self, shipped: Published) -> None:
        assert len(shipped.means) == 104
        assert all(len(mean.members) >= 3 for mean in shipped.means)


class TestPlaces:
    def test_a_cell_takes_the_words_of_its_selector(self, tmp_path: Path) -> None:
        (placed,) = place(tmp_path, HEAD + SELECTOR + "    n: 10\n    stratum: {modality: ct}\n").cells
        assert placed.place is not None
        assert (placed.place.metric, placed.place.name, placed.place.n) == ("dice", "dice", 10)
        assert placed.place.stratum == ("modality", "ct")
        assert placed.place.run_by == "P"

    def test_a_word_may_be_looked_up_by_a_field(self, tmp_path: Path) -> None:
        text = HEAD + SELECTOR + "    stratum: {modality: {by: subset, is: {ct: ct, MR: mr}}}\n"
        placed = place(tmp_path, text, cell(0), cell(1, subset="MR")).cells
        assert [item.place.stratum for item in placed if item.place] == [("modality", "ct"), ("modality", "mr")]

    def test_a_selector_may_say_that_its_cells_have_no_place(self, tmp_path: Path) -> None:
        (placed,) = place(tmp_path, HEAD + "cells:\n  - where: {paper: P}\n    unmapped: Nothing is like it.\n").cells
        assert (placed.place, placed.unmapped) == (None, "Nothing is like it.")

    def test_exceptions_keep_a_cell_out(self, tmp_path: Path) -> None:
        text = HEAD + SELECTOR + "    except: {model: N}\n  - where: {model: N}\n    unmapped: Other.\n"
        placed = place(tmp_path, text, cell(0), cell(1, model="N")).cells
        assert [item.unmapped for item in placed] == [None, "Other."]

    def test_notes_of_the_selector_and_of_the_cell_are_joined_as_sentences(self, tmp_path: Path) -> None:
        (placed,) = place(tmp_path, HEAD + SELECTOR + "    note: A doubt.\n", cell(note="printed twice")).cells
        assert placed.place is not None
        assert placed.place.note == "A doubt. Printed twice."


class TestFaults:
    def test_a_cell_that_nothing_hits_is_an_error(self, tmp_path: Path) -> None:
        message = fault(tmp_path, HEAD + SELECTOR, cell(0), cell(1, paper="Q"))
        assert message == (
            "mapping.yaml: published cell 1 (Q, 1, M, B, ct, accuracy): no selector hits it; "
            "add one, or say why it is unmapped"
        )

    def test_a_cell_that_is_hit_twice_is_an_error(self, tmp_path: Path) -> None:
        message = fault(tmp_path, HEAD + SELECTOR + "  - where: {model: M}\n    unmapped: Again.\n")
        assert message == (
            "mapping.yaml:6: published cell 0 (P, 1, M, B, ct, accuracy): hit again in line 12; "
            "expected exactly one selector"
        )

    def test_a_selector_that_hits_nothing_is_an_error(self, tmp_path: Path) -> None:
        message = fault(tmp_path, HEAD + SELECTOR + "  - where: {paper: Q}\n    unmapped: Nothing.\n")
        assert message == "mapping.yaml:12: cells[1].where: hits no published cell"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                SELECTOR.replace("{paper: P}", "{paper: [P, Q]}"),
                "mapping.yaml:6: cells[0].where.paper: no cell meant here has 'Q'",
            ),
            (
                SELECTOR + "    except: {model: MM}\n",
                "mapping.yaml:12: cells[0].except.model: no cell meant here has 'MM' (did you mean 'M'?)",
            ),
            (
                SELECTOR + "    n: {by: subset, is: {ct: 3, mr: 4}}\n",
                "mapping.yaml:12: cells[0].n.is.mr: no cell of this selector has this subset",
            ),
            (
                SELECTOR + "    n: {by: subset, is: {}}\n",
                "mapping.yaml:12: cells[0].n: is: cells of this selector have the subset 'ct', "
                "for which no word stands here",
            ),
            (
                SELECTOR.replace("micro", "mikro"),
                "mapping.yaml:10: cells[0].mean: expected one of 'micro', 'macro', 'pooled', "
                "got 'mikro' (did you mean 'micro'?)",
            ),
            (
                SELECTOR.replace("task_a", "task_b"),
                "mapping.yaml:7: cells[0].place: expected 'task_a', got 'task_b' (did you mean 'task_a'?)",
            ),
            (
                SELECTOR.replace("{paper: P}", "{}"),
                "mapping.yaml:6: cells[0].where: expected at least one condition",
            ),
            (
                SELECTOR.replace("{paper: P}", "{journal: P}"),
                "mapping.yaml:6: cells[0].where.journal: unknown key; known here: "
                "paper, table, model, benchmark, subset, metric, params, note",
            ),
            (
                SELECTOR.replace("    scale: percent\n", ""),
                "mapping.yaml:6: cells[0].scale: required key is missing",
            ),
            (
                SELECTOR + "    unmapped: No.\n    n: 3\n",
                "\n".join(
                    f"mapping.yaml:{line}: cells[0].{key}: a selector gives a place or says unmapped, not both"
                    for line, key in zip(
                        (7, 8, 9, 10, 11, 13), ("place", "metric", "protocol", "mean", "scale", "n"), strict=True
                    )
                ),
            ),
            (
                SELECTOR + "    stratum: {a: b, c: d}\n",
                "mapping.yaml:12: cells[0].stratum: expected one key with its value",
            ),
            (
                SELECTOR + "    n: {by: subset}\n",
                "mapping.yaml:12: cells[0].n.is: required key is missing",
            ),
            (
                SELECTOR + "    protocol: iou\n",
                "mapping.yaml:12: protocol: duplicate key, first in line 9; keep one of them",
            ),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path: Path, text: str, message: str) -> None:
        assert fault(tmp_path, HEAD + text) == message

    def test_a_place_in_two_families_is_an_error(self, tmp_path: Path) -> None:
        twice = HEAD + "  - family: G\n    about: Another.\n    of: {task_a: Again}\n"
        message = "mapping.yaml:7: places[1].of.task_a: stands in two families; keep one of them"
        assert fault(tmp_path, twice + SELECTOR) == message

    def test_a_file_that_is_not_there_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SpecError, match=r"mapping\.yaml:1: cannot be read: No such file"):
            place_published([cell()], tmp_path / "mapping.yaml")


class TestMeans:
    ROW = (
        cell(0, subset="ct", value=Decimal("40.0")),
        cell(1, subset="mr", value=Decimal("60.0")),
        cell(2, subset="mean", value=Decimal("50.0")),
    )

    def test_a_printed_mean_finds_the_members_of_its_row(self, tmp_path: Path) -> None:
        other = cell(3, subset="ct", model="N")
        rule = "means:\n  - where: {subset: mean}\n    of: {subset: [ct, mr]}\n"
        (mean,) = place(tmp_path, HEAD + SELECTOR + rule, *self.ROW, other).means
        assert mean.cell.index == 2
        assert [member.index for member in mean.members] == [0, 1]
        assert mean.weights == (1, 1)

    def test_a_weighted_mean_takes_n_of_its_members(self, tmp_path: Path) -> None:
        rule = "means:\n  - where: {subset: mean}\n    of: {subset: [ct, mr]}\n    weighted: true\n"
        counts = "    n: {by: subset, is: {ct: 30, mr: 10, mean: 40}}\n"
        (mean,) = place(tmp_path, HEAD + SELECTOR + counts + rule, *self.ROW).means
        assert mean.weights == (30, 10)

    @pytest.mark.parametrize(
        ("rule", "message"),
        [
            (
                "  - where: {subset: sum}\n    of: {subset: [ct, mr]}\n",
                "mapping.yaml:13: means[0].where: hits no published cell",
            ),
            (
                "  - where: {subset: mean}\n    of: {subset: [ct, xr]}\n",
                "mapping.yaml:14: means[0].of.subset: no cell meant here has 'xr'\n"
                "mapping.yaml:14: means[0].of: expected at least two members for published "
                "cell 2 (P, 1, M, B, mean, accuracy), found 1",
            ),
            (
                "  - where: {subset: mean}\n    of: {subset: [ct, mr]}\n    weighted: true\n",
                "mapping.yaml:15: means[0].weighted: the members of published "
                "cell 2 (P, 1, M, B, mean, accuracy) have no n to weigh by",
            ),
            (
                "  - where: {subset: mean}\n    of: {subset: [ct, mr]}\n    same: [colour]\n",
                "mapping.yaml:15: means[0].same: 'colour' is no field of a published cell; expected some of "
                "paper, table, model, benchmark, subset, metric, params, note",
            ),
        ],
    )
    def test_a_rule_that_does_not_fit_is_named_with_its_line(self, tmp_path: Path, rule: str, message: str) -> None:
        assert fault(tmp_path, HEAD + SELECTOR + "means:\n" + rule, *self.ROW) == message
