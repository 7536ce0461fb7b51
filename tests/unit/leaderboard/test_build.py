"""Building the site: a pure function of entries and published cells, into a folder of its own."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.errors import SpecError
from leaderboard.build import ENTRIES, _admit, build
from leaderboard.cells import entry_cells
from leaderboard.cli import main
from leaderboard.entry_file import read_entries
from leaderboard.published.mapping import PublishedFamily
from leaderboard.published.printed import PUBLISHED_FOLDER
from leaderboard.site.tables import chapters
from tests.unit.leaderboard.board_samples import Write, block, results

FAMILIES = (PublishedFamily("First", "about", {"samed2d_seg": "Masks"}),)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_same_entries_give_the_same_bytes_anywhere(write: Write, tmp_path: Path) -> None:
    folder = write(results())
    build([folder], tmp_path / "one")
    build([folder], tmp_path / "far" / "away")
    assert contents(tmp_path / "one") == contents(tmp_path / "far" / "away")


def test_no_path_of_the_machine_reaches_a_page(write: Write, tmp_path: Path) -> None:
    build([write(results())], tmp_path / "site")
    assert not [name for name, text in contents(tmp_path / "site").items() if str(tmp_path).encode() in text]


def test_without_entries_the_shipped_ones_are_shown(tmp_path: Path) -> None:
    built = build([], tmp_path / "site")
    assert (built.published, built.reproduced) == (903, 0)
    assert (ENTRIES / "README.md").is_file()
    assert (PUBLISHED_FOLDER / "published.json").is_file()


def test_what_was_built_is_counted(write: Write, tmp_path: Path) -> None:
    write(results("baseline:empty"), "floor")
    write(results(limited=True), "part")
    write(results(data="phantom"), "drawn")
    built = build([write(results(), "mine")], tmp_path / "site")
    assert (built.reproduced, built.phantom) == (1, 1)
    assert built.left_out == (("part", "run with --limit: a part of the samples is no result"),)
    cells = json.loads((tmp_path / "site" / "data.json").read_text())["cells"]
    assert sum(cell["source"] == "reproduced" for cell in cells) == 3


def test_a_new_board_replaces_an_old_one(write: Write, tmp_path: Path) -> None:
    folder = write(results(tasks={"gone": block()}))
    build([folder], tmp_path / "site", private=True)
    assert (tmp_path / "site" / "tasks" / "gone.html").is_file()
    build([], tmp_path / "site")
    assert not (tmp_path / "site" / "tasks" / "gone.html").exists()
    assert contents(tmp_path / "site")["index.html"]


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SpecError, match="holds other files; name a new or empty folder, or one with an earlier board"):
        build([], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_no_folder_for_pages(tmp_path: Path) -> None:
    (tmp_path / "site").write_text("")
    with pytest.raises(SpecError, match=r"--out .*site: expected a folder, found a file"):
        build([], tmp_path / "site")


def test_submitted_models_have_rows_under_their_names_and_none_passes_for_a_baseline(
    write: Write, tmp_path: Path
) -> None:
    for index, name in enumerate(("Ours", "Theirs", "baseline:empty")):
        model = {"id": "predictions", "oracle": False, "name": name, "url": f"https://example.org/?a=1&b={index}"}
        folder = write(results() | {"model": model}, f"run{index}")
    named = {"id": "mine:Model", "oracle": False, "name": "Mine"}
    folder = write(results() | {"model": named}, "run3")
    built = build([folder], tmp_path / "site")
    assert built.reproduced == 4
    page = (tmp_path / "site" / "index.html").read_text()
    link = '<span class="model"><a href="https://example.org/?a=1&amp;b=0" rel="noopener noreferrer nofollow">Ours</a>'
    assert link in page
    assert '<span class="model">Mine</span>' in page
    assert "mine:Model" in page
    cells = json.loads((tmp_path / "site" / "data.json").read_text())["cells"]
    found = {(cell["model"], cell["model_id"]) for cell in cells if cell["source"] == "reproduced"}
    assert found == {
        ("Ours", "predictions"),
        ("Theirs", "predictions"),
        ("baseline:empty", "predictions"),
        ("Mine", "mine:Model"),
    }


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["build", "--out", str(tmp_path / "file" / "site")])
    assert done.exit_code == 2
    assert done.stderr.endswith("Not a directory; name another place, or change its rights\n")
    assert done.stderr.startswith(f"leaderboard: {tmp_path / 'file'}")


def test_tasks_of_ones_own_need_a_flag(write: Write) -> None:
    write(results(tasks={"ours": block(), "samed2d_seg": block()}, unsupported={"theirs": "gives no text"}), "both")
    entries = read_entries(write(results(tasks={"ours": block()}), "own"))
    kept, left_out = _admit(entries, private=False)
    reason = "tasks of one's own, which --private-tasks shows"
    assert left_out == (("both", f"ours, theirs: {reason}"), ("own", f"ours: {reason}"))
    assert [([part.name for part in entry.blocks], dict(entry.unsupported)) for entry in kept] == [
        (["samed2d_seg"], {})
    ]
    assert _admit(entries, private=True) == (entries, ())


def test_a_run_without_a_usable_answer_is_left_out_unless_it_is_the_floor(write: Write) -> None:
    nothing = {"samed2d_seg": block(answered=0)}
    write(results(tasks=nothing), "silent")
    write(results(tasks=nothing | {"vqa_rad": block(answered=3)}), "half")
    entries = read_entries(write(results("baseline:empty", tasks=nothing), "floor"))
    kept, left_out = _admit(entries, private=False)
    assert left_out == (("silent", "no answer is usable: every one is empty, refused or failed"),)
    assert {entry.name for entry in kept} == {"half", "floor"}


def test_an_entry_that_was_filed_is_submitted_whatever_it_calls_itself(write: Write) -> None:
    model = {"id": "baseline:oracle", "arguments": {}, "oracle": True}
    folder = write(results("baseline:random"), "random")
    write(results() | {"model": model}, "oracle")
    for name in ("random", "oracle"):
        (folder / name / "entry.json").write_text("{}")
    kept, left_out = _admit(read_entries(folder), private=False)
    assert [name for name, _ in left_out] == ["oracle"]
    cells = [cell for entry in kept for cell in entry_cells(entry)]
    assert {cell.row.source for cell in cells} == {"submitted"}
    (table,) = [table for chapter in chapters(FAMILIES, cells) for part in chapter.sections for table in part.tables]
    # Only runs of the maintainers' own stand as floor and ceiling in the header.
    assert (table.bounds, [line.row.model for line in table.lines]) == ((), ["baseline:random"])
