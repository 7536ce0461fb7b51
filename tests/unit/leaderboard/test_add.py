"""Filing a bundle: as numbers and scores computed here, whole or not at all, and only what a board may show."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from harness.errors import DataError, SpecError
from harness.exports.bundles import layout
from harness.records.codec import sha256_file
from leaderboard import add as module
from leaderboard.add import Filed, add
from leaderboard.build import build
from leaderboard.cli import main
from leaderboard.entry_file import find_entries
from leaderboard.verify import Verified
from tests.support.bundle_mutations import mutated, read
from tests.support.good_bundle import BUNDLE, DATA

ROOTS = (str(DATA),)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep receipts apart: the tests must not see each other's."""
    monkeypatch.setattr(layout, "receipt_folder", lambda sha256: tmp_path / "receipts" / sha256)


@pytest.fixture
def entries(tmp_path: Path) -> Path:
    folder = tmp_path / "entries"
    folder.mkdir()
    return folder


def filed(done: Filed | Verified) -> Filed:
    assert isinstance(done, Filed)
    return done


def test_a_bundle_becomes_an_entry_with_scores_and_nothing_else_of_it(entries: Path) -> None:
    done = filed(add(BUNDLE, entries, given_roots=ROOTS))
    assert done.new
    assert done.folder.name.startswith("good-model-")
    names = {path.relative_to(done.folder).as_posix() for path in done.folder.rglob("*") if path.is_file()}
    assert {name for name in names if not name.startswith("scores/")} == {"results.json", "entry.json"}
    assert "scores/vqa_rad.vqa_accuracy.standard.parquet" in names
    stored = json.loads((done.folder / "results.json").read_text())
    assert stored["tasks"].keys() == {"vqa_rad", "samed2d_seg"}
    table = pq.ParquetFile(done.folder / "scores" / "samed2d_seg.dice.standard.parquet").read()
    assert table.num_rows == 6
    # The details of a score may quote answers and targets.
    assert "detail" not in table.column_names
    assert json.loads((done.folder / "entry.json").read_text())["source"] == "submitted"
    # Filed a second time, now without its data, it changes nothing.
    again = filed(add(BUNDLE, entries))
    assert (again.folder, again.new) == (done.folder, False)
    assert len(list(entries.iterdir())) == 1
    page = build([entries], entries.parent / "site").index.read_text()
    assert '<span class="badge submitted">submitted</span>' in page
    assert "Good Model" in page
    (about,) = (entries.parent / "site" / "models").glob("goodmodel*.html")
    for words in ("Good Model", "https://example.org/good", "Good et al., 2026", "7B parameters", "Apache-2.0"):
        assert words in about.read_text()


def test_without_data_and_without_an_earlier_check_nothing_is_filed(entries: Path) -> None:
    done = add(BUNDLE, entries)
    assert isinstance(done, Verified)
    assert list(entries.iterdir()) == []
    result = CliRunner().invoke(main, ["add", str(BUNDLE), "--entries", str(entries)])
    assert result.exit_code == 3
    assert "numbers not verified" in result.stderr


def test_a_refused_bundle_is_not_filed(entries: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(mutated("raw: value forged", 0, BUNDLE.read_bytes()))
    result = CliRunner().invoke(main, ["add", str(tmp_path / "bad.zip"), "--entries", str(entries)])
    assert result.exit_code == 2
    assert "refused: results.json: its bytes do not fit their digest" in result.stderr
    assert list(entries.iterdir()) == []


def receipt(tmp_path: Path, record: dict[str, Any], **results: Any) -> None:
    """Write the receipt of a verification of the good bundle."""
    sha256 = sha256_file(BUNDLE)
    folder = tmp_path / "receipts" / sha256
    folder.mkdir(parents=True)
    stored = json.loads(read(BUNDLE.read_bytes())["results.json"]) | results
    (folder / "results.json").write_text(json.dumps(stored))
    known = {"bundle_sha256": sha256, "private": [], "parameters": {}}
    (folder / "entry.json").write_text(json.dumps(known | record))


@pytest.mark.parametrize(
    ("record", "results", "reason"),
    [
        ({}, {"data": "phantom"}, "the run is on synthetic patients, whose numbers enter no board"),
        ({}, {"limited": True}, "the run has --limit: a part of the samples is no result"),
        ({"private": ["mine"]}, {}, "mine: no task that MedGround ships; --private-tasks files it"),
        (
            {"parameters": {"nsd.tolerance_mm": 99}},
            {},
            "scored with --param nsd.tolerance_mm; a board takes the protocols",
        ),
    ],
)
def test_what_enters_no_board_is_refused(
    record: dict[str, Any], results: dict[str, Any], reason: str, entries: Path, tmp_path: Path
) -> None:
    receipt(tmp_path, record, **results)
    with pytest.raises(DataError, match=reason):
        add(BUNDLE, entries)
    assert list(entries.iterdir()) == []


def test_a_flag_files_tasks_of_ones_own(entries: Path, tmp_path: Path) -> None:
    receipt(tmp_path, {"private": ["mine"]})
    assert filed(add(BUNDLE, entries, private=True)).new


def test_a_folder_that_is_in_the_way_stays(entries: Path, tmp_path: Path) -> None:
    receipt(tmp_path, {})
    (entries / f"good-model-{sha256_file(BUNDLE)[:8]}").mkdir()
    with pytest.raises(SpecError, match="is there already; remove it or name another --entries"):
        add(BUNDLE, entries)


def test_the_entries_are_a_folder(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--entries .*nowhere: expected a folder; make it, or name another"):
        add(BUNDLE, tmp_path / "nowhere")


def test_an_entry_is_there_whole_or_not_at_all(entries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt(tmp_path, {})

    def torn(source: Path, target: Path, **_: object) -> None:
        (target / "results.json").write_bytes((source / "results.json").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(module.shutil, "copytree", torn)
    with pytest.raises(KeyboardInterrupt):
        add(BUNDLE, entries)
    assert list(entries.iterdir()) == []


def test_an_entry_that_was_being_written_when_it_was_killed_is_no_entry(entries: Path) -> None:
    left = entries / f"{module.UNFINISHED}x"
    left.mkdir()
    (left / "results.json").write_bytes(read(BUNDLE.read_bytes())["results.json"])
    assert find_entries(entries) == []


def test_of_two_that_file_the_same_bundle_the_second_finds_the_first(entries: Path) -> None:
    with module._written_at_once(entries / "one") as unfinished:
        (unfinished / "a").touch()
        (entries / "one").mkdir()
        (entries / "one" / "a").write_text("first")
    assert (entries / "one" / "a").read_text() == "first"
    assert [path.name for path in entries.iterdir()] == ["one"]
