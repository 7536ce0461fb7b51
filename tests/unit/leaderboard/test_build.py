"""Building the site: a pure function of entries and published cells, into a folder of its own."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.errors import SpecError
from leaderboard.build import ENTRIES, _admit, build
from leaderboard.cells import entry_cells
from leaderboard.cli import main
from leaderboard.entry_file import BoardEntry, read_entries
from leaderboard.published.mapping import PublishedFamily
from leaderboard.published.printed import PUBLISHED_FOLDER
from leaderboard.site.places import sample_page
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
    (tmp_path / "boards").mkdir()
    out = tmp_path / "boards" / "site"
    build([folder], out, private=True)
    assert (out / "tasks" / "gone.html").is_file()
    build([], out)
    assert not (out / "tasks" / "gone.html").exists()
    assert [path.name for path in out.parent.iterdir()] == ["site"]
    assert contents(out)["index.html"]


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
    page = (tmp_path / "site" / "models" / "ours.html").read_text()
    assert '<a href="https://example.org/?a=1&amp;b=0" rel="noopener noreferrer nofollow">' in page
    table = (tmp_path / "site" / "tasks" / "samed2d_seg.html").read_text()
    assert '<a class="model" href="../models/mine.html">Mine</a>' in table
    assert "mine:Model" in table
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
    (table,) = [part.table for chapter in chapters(FAMILIES, cells) for part in chapter.sections]
    assert table is not None
    # Only runs of the maintainers' own stand as floor and ceiling in the header.
    assert (table.bounds, [line.row.model for line in table.lines]) == ((), ["baseline:random"])


def test_a_broken_entry_costs_itself(write: Write, tmp_path: Path) -> None:
    write(results() | {"limited": "no", "data": 7, "model": []}, "broken")
    built = build([write(results(), "whole")], tmp_path / "site")
    ((name, reason),) = built.left_out
    assert name == "broken"
    assert reason.startswith("cannot be read: model: expected an object, got a list; ")
    assert reason.endswith("; and 1 more")
    page = (tmp_path / "site" / "index.html").read_text()
    assert "expected an object, got a list" in page
    assert str(tmp_path) not in page
    assert built.reproduced == 1


def test_a_board_is_written_whole_or_not_at_all(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "boards" / "site"
    build([], out)
    before = contents(out)

    def broken(entries: Sequence[BoardEntry]) -> Iterator[tuple[str, str]]:
        yield "samples/one.html", f"{len(entries)}"
        raise OSError("disk full")

    monkeypatch.setattr("leaderboard.build.EXTRA", (broken,))
    with pytest.raises(OSError, match="disk full"):
        build([write(results())], out)
    assert contents(out) == before
    assert [path.name for path in out.parent.iterdir()] == ["site"]


def test_pages_of_other_packages_are_added_and_linked(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def extra(entries: Sequence[BoardEntry]) -> Iterator[tuple[str, str | bytes]]:
        for entry in entries:
            yield sample_page(entry.name, "samed2d_seg"), f"samples of {entry.name}"
        yield "samples/data.bin", b"\x00"

    monkeypatch.setattr("leaderboard.build.EXTRA", (extra,))
    build([write(results(), "mine")], tmp_path / "site")
    assert (tmp_path / "site" / "samples" / "mine" / "samed2d_seg" / "index.html").read_text() == "samples of mine"
    assert (tmp_path / "site" / "samples" / "data.bin").read_bytes() == b"\x00"
    link = 'href="../samples/mine/samed2d_seg/index.html"'
    for page in ("tasks/samed2d_seg.html", "models/mymodel.html"):
        assert link in (tmp_path / "site" / page).read_text()


def test_a_task_called_like_a_list_of_pages_does_not_replace_it(write: Write, tmp_path: Path) -> None:
    build([write(results("index", tasks={"index": block()}))], tmp_path / "site", private=True)
    assert "<h1>Tasks" in (tmp_path / "site" / "tasks" / "index.html").read_text()
    assert "<h1>Models" in (tmp_path / "site" / "models" / "index.html").read_text()
