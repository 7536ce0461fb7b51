"""Ranks are groups: models between which no difference is shown share one, and who lacks scores has none."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leaderboard.cells import entry_cells
from leaderboard.entry_file import BoardEntry, read_entries
from leaderboard.entry_parts import scores as scores_of
from leaderboard.ranks import RankedColumn, Ranking, column_of, rank_columns
from tests.unit.leaderboard.board_samples import block, number, results
from tests.unit.leaderboard.sample_scores import write_scores

Write = Callable[..., Path]
# Whom 40 samples of 20 patients tell apart: two alike models, one that is far better, one that is far worse.
QUALITY = {"best": 0.9, "middle": 0.5, "alike": 0.5, "worst": 0.1}


def values_of(quality: float, seed: int) -> list[float]:
    return list(map(float, (quality + np.random.default_rng(seed).normal(0, 0.05, 40)).clip(0, 1)))


@pytest.fixture
def board(write: Write) -> Path:
    """Four models with scores, one without, and the floor."""
    patients = [f"p{row // 2:02d}" for row in range(40)]
    for seed, (name, quality) in enumerate(QUALITY.items()):
        folder = write(results(name), name=name)
        write_scores(folder / name, values_of(quality, seed), clusters=patients)
    write(results("only-numbers"), name="only-numbers")
    write(results("baseline:empty"), name="floor")
    return write(results("other-data", tasks={"samed2d_seg": block(data_digest="ff" * 32)}), name="other-data")


def ranked(entries: Sequence[BoardEntry], **options: Any) -> Ranking:
    """Return the ranking of the column that most entries share."""
    found = rank_columns(entries, bounds=("baseline:empty",), **options)
    return max(found.values(), key=lambda ranking: len(ranking.ranks) + len(ranking.without))


def test_models_share_a_rank_unless_a_difference_is_shown(board: Path) -> None:
    entries = read_entries(board)
    found = ranked(entries)
    assert found.ranks == {"best": 1, "middle": 2, "alike": 2, "worst": 4}
    assert found.without == {"only-numbers": "no scores of its samples"}
    assert (found.samples, found.clusters, found.tests) == (40, 20, 6)
    assert sum(found.methods.values()) == 6
    (cell,) = entry_cells(next(entry for entry in entries if entry.name == "best"))
    column = column_of(cell)
    assert column is not None
    assert rank_columns(entries, bounds=("baseline:empty",))[column] == found


def test_other_data_are_another_column_in_which_a_lone_model_has_no_rank(board: Path) -> None:
    found = rank_columns(read_entries(board))
    assert [column.basis for column in found] == [
        ("version 1", "data cdcdcdcd", "protocol version 1"),
        ("version 1", "data ffffffff", "protocol version 1"),
    ]
    lone = found[next(column for column in found if "data ffffffff" in column.basis)]
    assert lone == Ranking(without={"other-data": "no scores of its samples"})


def test_lower_is_better_turns_the_ranks(write: Write) -> None:
    for name, value in (("near", 2.0), ("far", 30.0)):
        row = number(metric="hd95", name="hd95", higher_is_better=False, value=value)
        folder = write(results(name, tasks={"samed2d_seg": block(row)}), name=name)
        write_scores(folder / name, [value + step / 10 for step in range(20)], metric="hd95")
    assert ranked(read_entries(folder)).ranks == {"near": 1, "far": 2}


def test_other_samples_or_patients_give_no_rank(board: Path, write: Write) -> None:
    write(results("few"), name="few")
    write_scores(board / "few", values_of(0.5, 9)[:39], clusters=[f"p{row // 2:02d}" for row in range(39)])
    write(results("shuffled"), name="shuffled")
    names = [f"s{row:04d}" for row in range(40)][::-1]
    write_scores(
        board / "shuffled",
        values_of(0.9, 0)[::-1],
        ids=names,
        clusters=[f"p{row // 2:02d}" for row in range(39, -1, -1)],
    )
    write(results("patients"), name="patients")
    write_scores(board / "patients", values_of(0.5, 9))
    found = ranked(read_entries(board))
    assert found.ranks["shuffled"] == found.ranks["best"] == 1
    other = "it was evaluated on other samples than most models"
    assert {name: found.without[name] for name in ("few", "patients")} == {"few": other, "patients": other}


def test_a_model_without_a_number_or_with_a_shared_name_has_no_rank(board: Path, write: Write) -> None:
    write(results("undefined"), name="undefined")
    write_scores(board / "undefined", [None] * 40, clusters=[f"p{row // 2:02d}" for row in range(40)])
    entries = read_entries(board)
    found = ranked([*entries, *(entry for entry in entries if entry.name == "alike")])
    assert found.without["undefined"] == "its scores give no number"
    assert found.without["alike"] == "several entries have its name"
    assert list(found.ranks) == ["best", "middle", "worst"]


def test_a_pooled_number_that_ranks_every_sample_has_no_closed_form(write: Write) -> None:
    for name in ("a", "b"):
        row = number(metric="ap50", name="ap50", mean="pooled")
        folder = write(results(name, tasks={"samed2d_seg": block(row)}), name=name)
        write_scores(folder / name, [0.5] * 20, metric="ap50", stats=[(1.0, 0.5, 1.0)] * 20)
    found = ranked(read_entries(folder))
    reason = "its number is no function of sums over samples, so there is no closed form of its test"
    assert found == Ranking(without={"a": reason, "b": reason})


def test_a_file_that_is_no_scores_costs_its_model_the_rank_only(board: Path) -> None:
    (board / "worst" / "scores" / "samed2d_seg.dice.standard.parquet").write_bytes(b"PAR1 no parquet PAR1")
    found = ranked(read_entries(board))
    assert found.ranks == {"best": 1, "middle": 2, "alike": 2}
    assert "cannot be read as scores" in found.without["worst"]


@pytest.mark.parametrize(("limit", "words"), [("MOST_BYTES", "is larger than 1 bytes"), ("MOST_ROWS", "has 40 rows")])
def test_a_file_that_is_too_large_is_refused(
    board: Path, monkeypatch: pytest.MonkeyPatch, limit: str, words: str
) -> None:
    monkeypatch.setattr(scores_of, limit, 1)
    assert all(words in ranked(read_entries(board)).without[name] for name in QUALITY)


@pytest.mark.parametrize("name", ["../../other/scores/x", "a\\b", "a" * 300, "nul\0"])
def test_names_from_outside_reach_no_other_folder(tmp_path: Path, name: str) -> None:
    path = write_scores(tmp_path, [1.0], task="x")
    assert scores_of.score_path(tmp_path, "x", "dice", "standard") == path
    assert scores_of.score_path(tmp_path, name, "dice", "standard") is None
    path.rename(tmp_path / "elsewhere.parquet")
    path.symlink_to(tmp_path / "elsewhere.parquet")
    assert scores_of.score_path(tmp_path, "x", "dice", "standard") is None


def test_a_ranking_is_kept_until_a_score_changes(board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache" / "ranks"
    first = ranked(read_entries(board), cache=cache)
    (kept,) = cache.iterdir()
    monkeypatch.setattr("leaderboard.ranks._compute", lambda *_: Ranking(ranks={"made": 1}))
    assert ranked(read_entries(board), cache=cache) == first
    kept.write_text("{")
    assert ranked(read_entries(board), cache=cache).ranks == {"made": 1}, "a damaged file is made again"
    shutil.copy(
        board / "best" / "scores" / "samed2d_seg.dice.standard.parquet",
        board / "worst" / "scores" / "samed2d_seg.dice.standard.parquet",
    )
    kept.write_text("{}")
    assert ranked(read_entries(board), cache=cache).ranks == {"made": 1}
    assert len(list(cache.iterdir())) == 2


def test_a_folder_that_cannot_be_written_keeps_no_ranking_and_costs_nothing(board: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert ranked(read_entries(board), cache=tmp_path / "file" / "ranks").ranks["best"] == 1


def test_cells_of_strata_and_empty_cells_have_no_column(write: Write) -> None:
    rows = number(), number(stratum={"modality": "ct"}), number(metric="iou", name="iou", value=None)
    (entry,) = read_entries(write(results(tasks={"samed2d_seg": block(*rows)}, unsupported={"vqa_rad": "no text"})))
    columns = [column_of(cell) for cell in entry_cells(entry)]
    assert [column is None for column in columns] == [False, True, True, True]
    assert columns[0] == RankedColumn(
        data="real", place="samed2d_seg", metric="dice", name="dice", protocol="standard", mean="micro", judge=None,
        basis=("version 1", "data cdcdcdcd", "protocol version 1"),
    )  # fmt: skip
