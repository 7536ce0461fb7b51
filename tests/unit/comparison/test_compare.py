"""Whole comparisons: what is paired, what is refused and why, families, samples that moved, the command."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import harness
from harness.cli import main
from harness.comparison.compare import changed_samples, compare_runs
from harness.comparison.compared_text import text, to_json
from harness.errors import SpecError
from tests.support.scored_runs import DIGEST, write_run

GENERATOR = np.random.default_rng(1)
FIRST = GENERATOR.random(40).round(3)
SECOND = np.clip(FIRST + np.where(np.arange(40) % 4 == 0, -0.3, 0.01), 0, 1)
ORGANS = {"organ": ["liver" if number % 4 == 0 else "spleen" for number in range(40)]}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of 40 samples; every liver lost 0.3 at most, every spleen gained 0.01 at most."""
    folder = tmp_path_factory.mktemp("runs")
    return (
        write_run(folder / "old", FIRST, strata=ORGANS),
        write_run(folder / "new", SECOND, strata=ORGANS),
    )


def only(paths: Any, **options: Any) -> Any:
    (found,) = compare_runs(list(paths), **options)
    return found


def test_the_headline_and_its_strata_are_compared_and_adjusted_in_their_own_families(pair: tuple[Path, Path]) -> None:
    (task,) = only(pair).tasks
    headline, liver, spleen = task.numbers
    assert headline.difference.difference == pytest.approx(float(np.mean(SECOND - FIRST)))
    assert (headline.tests, liver.tests) == (1, 2)
    assert headline.p_adjusted == headline.difference.p
    assert spleen.p_adjusted == pytest.approx(2 * spleen.difference.p)
    assert liver.p_adjusted == liver.difference.p  # the larger of two
    assert (liver.verdict, spleen.verdict) == ("worse", "better")
    assert (task.pairs, task.only_a, task.only_b) == (40, 0, 0)


def test_the_samples_that_moved_most_come_first_each_way(pair: tuple[Path, Path]) -> None:
    (task,) = only(pair).tasks
    moves = {f"spots/{number:07d}": move for number, move in enumerate(SECOND - FIRST)}
    lost = sorted(moves, key=lambda name: (moves[name], name))
    worse = [sample.sample_id for sample in task.worse]
    assert len(worse) == 10
    assert [moves[name] for name in worse] == pytest.approx([moves[name] for name in lost[:10]])
    assert all(moves[sample.sample_id] > 0 for sample in task.better)
    assert sum(cell.count for cell in task.scatter) == 40


def test_a_run_with_itself_differs_by_nothing_and_nothing_moved(pair: tuple[Path, Path]) -> None:
    (task,) = only([pair[0], pair[0]]).tasks
    assert {number.verdict for number in task.numbers} == {"no difference shown"}
    assert (task.better, task.worse) == ((), ())
    assert list(changed_samples([pair[0], pair[0]])) == []


def test_several_runs_share_the_families(pair: tuple[Path, Path]) -> None:
    found = compare_runs([*pair, pair[1]])
    assert [len(comparison.tasks) for comparison in found] == [1, 1]
    assert found[0].tasks[0].headline is not None
    assert found[0].tasks[0].headline.tests == 2


def test_every_sample_whose_value_changed_is_listed(pair: tuple[Path, Path]) -> None:
    rows = list(changed_samples(pair))
    assert len(rows) == int((SECOND != FIRST).sum())
    assert rows[0]["value_a"] == FIRST[0]
    assert rows[0]["value_b"] == SECOND[0]


def test_lower_is_better_turns_what_moved(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", [5.0, 1.0, 2.0], higher_is_better=False)
    b = write_run(tmp_path / "b", [4.0, 3.0, 2.0], higher_is_better=False)
    (task,) = only([a, b]).tasks
    assert [sample.value_b for sample in task.better] == [4.0]
    assert [sample.value_b for sample in task.worse] == [3.0]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"data_digest": "e" * 64}, f"data digest {DIGEST[:12]} against eeeeeeeeeeee"),
        ({"version": 2}, "task version 1 against 2"),
    ],
)
def test_other_data_are_refused_unless_told(tmp_path: Path, block: dict[str, Any], words: str) -> None:
    a = write_run(tmp_path / "a", [0.5, 0.6, 0.7], ids=["x", "y", "z"])
    b = write_run(tmp_path / "b", [0.1, 0.4], ids=["z", "x"], block=block)
    message = (
        f"{b}: is not comparable with {a} as it is: spots: {words}. Evaluate both on the same data, or give "
        "--common-samples to compare the samples that both have"
    )
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        compare_runs([a, b])
    (task,) = only([a, b], common_samples=True).tasks
    assert task.pair.differences == (words,)
    assert (task.pairs, task.only_a, task.only_b) == (2, 1, 0)
    assert task.headline is not None
    assert task.headline.difference is not None
    assert task.headline.difference.difference == pytest.approx((0.1 + 0.4 - 0.7 - 0.5) / 2)
    shown = text([only([a, b], common_samples=True)])
    assert f"spots: {words}" in shown
    assert "spots: compared on the 2 samples that both scored; 1 of A alone and 0 of B alone are left out" in shown


def test_what_differs_without_harm_is_named(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", [0.5, 0.6])
    b = write_run(
        tmp_path / "b",
        [0.5, 0.7],
        block={"fallbacks": ["region: box_text"], "wording": "zh", "task_digest": "e" * 64, "coverage": 0.5},
        results={"limited": True},
    )
    (task,) = only([a, b]).tasks
    assert task.pair.notes == (
        "the task file differs within version 1, as a prompt or a list of metrics may",
        "fallbacks differ: none against region: box_text",
        "wording differs: None against zh",
        "limited by --limit: 2 samples in A, 2 in B",
        f"coverage 50.0% in {b}: the other answers could not be scored",
    )


def test_another_protocol_version_is_not_compared(tmp_path: Path) -> None:
    a, b = write_run(tmp_path / "a", [0.5]), write_run(tmp_path / "b", [0.5], protocol_version=2)
    (task,) = only([a, b]).tasks
    assert task.headline is not None
    assert task.headline.verdict == "not compared"
    reason = "dice standard has protocol version 1 against 2; score both again with `harness score RUN_DIR`"
    assert task.headline.reason == reason
    assert f"spots: {reason}" in text([only([a, b])])


def test_a_narrow_table_has_names_and_counts_above_the_numbers(pair: tuple[Path, Path]) -> None:
    found = only([*pair])
    wide, narrow = text([found]).splitlines(), text([found], width=80).splitlines()
    assert text([found], width=200).splitlines() == wide
    assert narrow[2].split() == ["A", "B", "B", "-", "A", "95", "%", "interval", "p", "adjusted", "verdict"]
    (difference,) = [task.headline.difference for task in found.tasks if task.headline is not None]
    assert difference is not None
    counts = f"{difference.wins} better, {difference.ties} equal, {difference.losses} worse"
    assert narrow[3] == f"spots   n {difference.n}: {counts}"
    assert max(map(len, narrow[2:5])) <= 80 < max(map(len, wide[2:4]))


def test_runs_that_cannot_be_compared_say_why(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", [0.5], ids=["x"])
    with pytest.raises(SpecError, match=r"^compare: expected at least two run directories, found 1$"):
        compare_runs([a])
    with pytest.raises(SpecError, match="nowhere: does not exist; expected a run directory that `harness run --out`"):
        compare_runs([a, tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match=r"empty: is no run directory \(no run.json\)"):
        compare_runs([a, tmp_path / "empty"])
    (tmp_path / "empty" / "run.json").write_text("{}")
    with pytest.raises(SpecError, match=r"has no results.json: the run is not finished; run the same `harness run`"):
        compare_runs([a, tmp_path / "empty"])
    real = write_run(tmp_path / "real", [0.5], results={"data": "real"})
    with pytest.raises(SpecError, match=r"is a run on real data, .* one on phantom data; expected both on the same"):
        compare_runs([a, real])
    other = write_run(tmp_path / "other", [0.5], task="dots")
    with pytest.raises(SpecError, match=r"has no task in common with .*: found dots, expected some of spots; evaluate"):
        compare_runs([a, other])
    apart = write_run(tmp_path / "apart", [0.5], ids=["y"])
    with pytest.raises(SpecError, match=r"spots has no sample in common with .* evaluate both on the same samples"):
        compare_runs([a, apart])
    (apart / "scores" / "spots.dice.standard.parquet").unlink()
    with pytest.raises(SpecError, match="scores are missing; run `harness score` on the run directory to write them"):
        compare_runs([a, apart])


def test_the_command_prints_writes_the_page_and_the_samples(pair: tuple[Path, Path], tmp_path: Path) -> None:
    page, changed = tmp_path / "compare.html", tmp_path / "changed.csv"
    runs = [str(path) for path in pair]
    shown = CliRunner().invoke(main, ["compare", *runs, "--out", str(page), "--changed", str(changed)])
    assert shown.exit_code == 0, shown.output
    assert "  organ liver" in shown.stdout
    assert f"page     {page}" in shown.stderr
    assert changed.read_text().startswith("a,b,task,sample_id,repeat,metric,protocol,value_a,value_b\n")
    html = page.read_text()
    assert "default-src 'none'" in html
    assert html.count('class="strip"') == 3
    assert "scripted:new against scripted:old" in html
    as_json = CliRunner().invoke(main, ["compare", *runs, "--out", str(page), "--json"])
    assert json.loads(as_json.stdout) == json.loads(json.dumps(to_json([only(pair)])))


def test_a_folder_that_is_not_there_is_no_place_for_the_page(pair: tuple[Path, Path], tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "compare.html"
    shown = CliRunner().invoke(main, ["compare", *map(str, pair), "--out", str(missing)])
    assert shown.exit_code == 2
    assert f"--out {missing}: the folder {missing.parent} does not exist; create it or name another" in shown.stderr


def test_words_from_outside_are_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    a = write_run(tmp_path / "a", [0.5, 0.9], ids=[evil, "x"], strata={"organ": [evil, "b"]}, block={"title": evil})
    b = write_run(tmp_path / "b", [0.1, 0.9], ids=[evil, "x"], strata={"organ": [evil, "b"]}, block={"title": evil})
    page = tmp_path / "compare.html"
    shown = CliRunner().invoke(main, ["compare", str(a), str(b), "--out", str(page)])
    assert shown.exit_code == 0, shown.output
    assert "<script" not in page.read_text()
    assert "&lt;script&gt;alert(1)" in page.read_text()


def test_the_api_gives_a_table(pair: tuple[Path, Path]) -> None:
    table = harness.compare(*pair)
    assert list(table["family"]) == ["headline", "stratum", "stratum"]
    assert list(table["stratum"])[1:] == ["organ=liver", "organ=spleen"]
    assert table["ci_low"][1] < table["difference"][1] < table["ci_high"][1]
