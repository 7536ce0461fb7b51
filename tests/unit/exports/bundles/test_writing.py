"""Writing a bundle: the same bytes each time, no target and no prompt, and only of a run that says something."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import SpecError
from harness.exports.bundles.writing import write_bundle
from harness.runs.plan_digests import with_digests
from leaderboard.verify import verify
from tests.support.bundle_mutations import INDEX, LINES, read
from tests.support.good_bundle import BUNDLE, DATA, make_bundle


def edited(path: Path, change: Callable[[Any], object]) -> None:
    """Change a JSON file in place."""
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_run_gives_the_same_bytes_each_time_in_whichever_order_its_answers_came(run: Path, tmp_path: Path) -> None:
    write_bundle(run, tmp_path / "one.zip")
    stored = run / LINES
    stored.write_bytes(b"".join(reversed(stored.read_bytes().splitlines(keepends=True))))
    write_bundle(run, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"run", "one.zip", "two.zip"}


def test_the_run_behind_a_bundle_gives_that_bundle(made: Path, tmp_path: Path) -> None:
    write_bundle(made, tmp_path / "again.zip")
    again, snapshot = (read(path.read_bytes()) for path in (tmp_path / "again.zip", BUNDLE))
    indices = [json.loads(files.pop(INDEX)) for files in (again, snapshot)]
    assert again == snapshot
    for name in ("capabilities", "files"):  # not the version of the harness that wrote it
        assert indices[0][name] == indices[1][name]


@pytest.mark.slow
def test_an_evaluation_gives_a_bundle_that_is_verified(tmp_path: Path) -> None:
    """Where the first line fails, a task has changed: `python -m tests.support.good_bundle` makes the snapshot anew."""
    make_bundle(tmp_path / "new.zip", tmp_path)
    files = read((tmp_path / "new.zip").read_bytes())
    assert files.keys() == read(BUNDLE.read_bytes()).keys()
    # The questions of the release, and the reference answers that a judge was shown.
    assert not [name for name, content in files.items() if b"Is finding" in content or b"REFERENCE" in content]
    assert verify(tmp_path / "new.zip", given_roots=(str(DATA),)).unverified == ()


def test_it_holds_what_a_bundle_holds() -> None:
    files = read(BUNDLE.read_bytes())
    kinds = {re.sub(r"[0-9a-f]{64}|(?<=-)[0-9a-f]{8}", "*", name) for name in files}
    judge = "judgements/001-correctness-*"
    assert kinds == {
        "bundle.json",
        "card.md",
        "run.json",
        "results.json",
        LINES,
        "blobs/*.json.zst",
        f"{judge}/run.json",
        f"{judge}/samples.jsonl",
        f"{judge}/predictions/predictions.jsonl",
    }


def test_it_says_how_the_model_is_asked() -> None:
    capabilities = json.loads(read(BUNDLE.read_bytes())[INDEX])["capabilities"]
    assert capabilities.keys() == {"takes", "gives", "max_images", "per_sample", "volume"}


def test_the_card_says_what_is_in_it() -> None:
    card = read(BUNDLE.read_bytes())["card.md"].decode()
    assert card.startswith("# Good Model\n")
    for words in ("https://example", "Good et al., 2026", "7,000,000,000", "Apache", "vqa\\_rad", "samed2d\\_seg"):
        assert words in card


@pytest.mark.slow
def test_a_run_whose_results_were_edited_is_bundled_and_refused(run: Path, tmp_path: Path) -> None:
    edited(run / "results.json", lambda value: value["tasks"]["vqa_rad"]["metrics"][0].update(value=0.99))
    write_bundle(run, tmp_path / "forged.zip")
    with pytest.raises(Exception, match=r"value: results\.json says 0\.99, the predictions give"):
        verify(tmp_path / "forged.zip", given_roots=(str(DATA),))


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path) -> None:
    lines = (run / LINES).read_bytes().splitlines(keepends=True)
    (run / LINES).write_bytes(b"".join(lines[:-2]))
    with pytest.raises(
        SpecError, match="2 of its requests are not finished or are damaged; run the same `harness run`"
    ):
        write_bundle(run, tmp_path / "x.zip")
    (run / LINES).unlink()
    with pytest.raises(SpecError, match="18 of its requests are not finished"):
        write_bundle(run, tmp_path / "x.zip")
    (run / "results.json").unlink()
    with pytest.raises(SpecError, match=r"has no results\.json; expected a finished run directory"):
        write_bundle(run, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_model_that_is_given_the_targets_makes_no_bundle(run: Path, tmp_path: Path) -> None:
    edited(run / "run.json", lambda value: value["model"].update(oracle=True))
    with pytest.raises(SpecError, match="the model is given the targets; an oracle enters no board"):
        write_bundle(run, tmp_path / "x.zip")


def test_a_limited_run_needs_a_flag(run: Path, tmp_path: Path) -> None:
    edited(run / "run.json", lambda value: value.update(limit=5))
    with pytest.raises(SpecError, match="is a run with --limit 5; a part of the samples is no result"):
        write_bundle(run, tmp_path / "x.zip")
    write_bundle(run, tmp_path / "x.zip", limited=True)


def test_a_run_without_a_usable_answer_makes_no_bundle(run: Path, tmp_path: Path) -> None:
    edited(run / "results.json", lambda value: [block.update(answered=0) for block in value["tasks"].values()])
    with pytest.raises(SpecError, match="has no usable answer: every answer is empty, refused or failed"):
        write_bundle(run, tmp_path / "x.zip")


def test_a_plan_of_an_older_version_is_written_anew_first(run: Path, tmp_path: Path) -> None:
    def older(value: Any) -> None:
        for name in ("capabilities", "files", "sha256"):
            value.pop(name)
        value.update(with_digests(value, {}))

    edited(run / "plan" / "cells.json", older)
    with pytest.raises(
        SpecError, match=r"older version, .* delete .*cells\.json and run the same `harness run` command"
    ):
        write_bundle(run, tmp_path / "x.zip")


def test_a_judge_that_compares_two_runs_is_left_out(run: Path, tmp_path: Path) -> None:
    record = next((run / "judgements").glob("*/run.json"))
    edited(record, lambda value: value.update(against={"model": "other", "digest": "d"}))
    written = write_bundle(run, tmp_path / "x.zip")
    assert (written.judges, written.left_out) == (0, (record.parent.name,))


def test_a_place_that_cannot_be_written_is_one_line(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"-o .*x\.zip: cannot be written: No such file or directory; name another file"
    ):
        write_bundle(run, tmp_path / "nowhere" / "x.zip")


def test_the_command_names_the_check(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.zip"
    done = CliRunner().invoke(main, ["bundle", str(run), "-o", str(out), "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["predictions"] == 18
    assert f"check it: leaderboard verify {out} --data-root DATA" in done.stderr
    done = CliRunner().invoke(main, ["bundle", str(tmp_path), "-o", str(out)])
    assert done.exit_code == 2
    assert "is no run directory" in done.stderr
