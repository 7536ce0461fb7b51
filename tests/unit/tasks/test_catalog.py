"""Task and group files below some folders: names, listing, groups."""

import time
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.tasks.catalog import check_file, index, look_up, split_names, task_folders
from tests.unit.tasks.task_cases import GOOD, changed, write

pytestmark = pytest.mark.usefixtures("small_tables")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty task folder that stands in for the packaged ones."""
    root = tmp_path / "tasks"
    root.mkdir()
    monkeypatch.setattr("harness.tasks.catalog.packaged_folder", lambda: root)
    return root


def named(name: str) -> str:
    return changed("task: good", f"task: {name}")


def test_tasks_are_found_in_every_folder_by_their_names(folder: Path, tmp_path: Path) -> None:
    write(folder, named("b"), "family/b.yaml")
    write(folder, "- not a task\n", "family/_shared.yaml")
    write(tmp_path / "mine", named("a"), "deep/er/x.yaml")
    catalog = index([tmp_path / "mine"])
    assert list(catalog.entries) == ["a", "b"]
    assert catalog.entries["a"].file == tmp_path / "mine/deep/er/x.yaml"
    assert catalog.entries["a"].title == "A good task"
    assert catalog.load("a").task == "a"
    assert catalog.group("a") is None


def test_the_title_of_a_listing_is_inherited_too(folder: Path) -> None:
    write(folder, named("base"), "base.yaml")
    write(folder, "include: base.yaml\ntask: child\n", "child.yaml")
    write(folder, "include: gone.yaml\ntask: orphan\n", "orphan.yaml")
    entries = index().entries
    assert [entries[name].title for name in ("base", "child", "orphan")] == ["A good task", "A good task", ""]


def test_listing_does_not_stop_at_a_broken_body(folder: Path) -> None:
    write(folder, named("good"), "good.yaml")
    path = write(folder, "task: bad\ntitle: Bad\nrest: of: it\n", "bad.yaml")
    assert list(index().entries) == ["bad", "good"]
    with pytest.raises(SpecError, match=f"^{path}:3: cannot be read as YAML"):
        index().load("bad")


def test_a_name_that_two_files_take_is_an_error_naming_both(folder: Path) -> None:
    first, second = write(folder, GOOD, "a.yaml"), write(folder, GOOD, "b.yaml")
    with pytest.raises(SpecError, match=f"^{second}:1: task: the name 'good' is taken by {first}; choose another$"):
        index()


def test_a_file_without_a_name_is_an_error(folder: Path) -> None:
    path = write(folder, "a: 1\n", "a.yaml")
    other = write(folder, "task: 3\n", "b.yaml")
    with pytest.raises(SpecError) as caught:
        index()
    assert str(caught.value).splitlines() == [
        f"{path}:1: task: required key is missing; is this a task file?",
        f"{other}:1: task: expected text",
    ]


def test_task_folders_begin_with_the_packaged_ones_and_hold_each_once(folder: Path, tmp_path: Path) -> None:
    assert task_folders([tmp_path, folder, tmp_path / "."]) == [folder, tmp_path]


def test_a_task_path_that_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=f"^--task-path {tmp_path}/x: expected a folder$"):
        task_folders([tmp_path / "x"])


def test_names_resolve_to_tasks_once_and_groups(folder: Path) -> None:
    for name in ("a", "b", "c"):
        write(folder, named(name), f"{name}.yaml")
    write(folder, "pair: {title: Two, tasks: [c, a], combine: macro}\n", "groups.yaml")
    tasks, groups = index().resolve(["b", "pair", "a", "b"])
    assert [task.task for task in tasks] == ["b", "c", "a"]
    assert [(group.name, group.title, group.members, group.combine) for group in groups] == [
        ("pair", "Two", ("c", "a"), "macro")
    ]
    assert index().group("pair") == groups[0]


def test_all_unknown_names_and_all_faults_of_all_files_come_together(folder: Path) -> None:
    write(folder, named("alpha") + "x: 1\n", "a.yaml")
    write(folder, named("beta") + "y: 1\n", "b.yaml")
    write(folder, "couple: {title: Two, tasks: [alpha, beta]}\n", "groups.yaml")
    with pytest.raises(SpecError) as caught:
        index().resolve(["alpah", "cuple", "couple", "zzz"])
    lines = str(caught.value).splitlines()
    listing = "; `harness list tasks` names them all"
    assert lines[:3] == [
        f"no task or group is called 'alpah' (did you mean 'alpha'?){listing}",
        f"no task or group is called 'cuple' (did you mean 'couple'?){listing}",
        f"no task or group is called 'zzz'{listing}",
    ]
    assert [line.split(": ")[0] for line in lines[3:]] == [f"{folder}/a.yaml:13", f"{folder}/b.yaml:13"]


def test_loading_an_unknown_name_or_a_group_is_an_error(folder: Path) -> None:
    write(folder)
    write(folder, "some: {title: Some, tasks: [good]}\n", "groups.yaml")
    with pytest.raises(SpecError, match=r"^no task or group is called 'god' \(did you mean 'good'\?\)"):
        index().load("god")
    with pytest.raises(SpecError, match=r"^'some' is a group; expected one task, one of: good$"):
        index().load("some")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("g: {title: G}\n", "1: g.tasks: required key is missing"),
        ("g: {title: G, tasks: []}\n", "1: g.tasks: expected at least one task"),
        ("g: {tasks: [good]}\n", "1: g.title: required key is missing"),
        ("g: {title: G, tasks: [goood]}\n", "1: g.tasks: no task is called 'goood' (did you mean 'good'?)"),
        ("g: {title: G, tasks: [good], combin: none}\n", "1: g.combin: unknown key (did you mean 'combine'?)"),
        ("g: {title: G, tasks: [good], combine: micro}\n", "1: g.combine: expected one of 'none', 'macro', got 'micro' "
         "(did you mean 'macro'?)"),
        ("a: {title: G, tasks: [good]}\na: {title: G, tasks: [good]}\n", "2: a: duplicate key, first in line 1; keep "
         "one of them"),
        ("good: {title: G, tasks: [good]}\n", "1: good: a group may not have the name of a task ({folder}/t.yaml)"),
        ("g: [good]\n", "1: g: expected keys and values, got a list"),
        ("g: h: i\n", "1: cannot be read as YAML: mapping values are not allowed here"),
    ],
)  # fmt: skip
def test_a_wrong_group_is_a_located_error(folder: Path, text: str, fault: str) -> None:
    write(folder)
    path = write(folder, text, "groups.yaml")
    with pytest.raises(SpecError) as caught:
        index()
    assert str(caught.value) == f"{path}:{fault.format(folder=folder)}"


def test_a_group_name_is_taken_once(folder: Path, tmp_path: Path) -> None:
    write(folder)
    write(folder, "g: {title: G, tasks: [good]}\n", "groups.yaml")
    path = write(tmp_path / "mine", "g: {title: G, tasks: [good]}\n", "groups.yaml")
    with pytest.raises(SpecError, match=f"^{path}:1: g: another groups.yaml has a group of this name; choose another$"):
        index([tmp_path / "mine"])


def test_a_groups_file_is_checked_by_itself(folder: Path) -> None:
    assert check_file(write(folder, "g: {title: G, tasks: [x]}\n", "groups.yaml")) == []
    path = write(folder, "g: {title: G, tasks: x}\n", "groups.yaml")
    assert check_file(path) == [f"{path}:1: g.tasks: expected a list, got 'x'"]


def test_sixty_files_are_listed_quickly_whatever_they_hold(folder: Path) -> None:
    text = GOOD + "".join(f"# {'x' * 60}\nkey_{number}: [a, b, {{c: d}}]\n" for number in range(200))
    for number in range(60):
        write(folder, text.replace("task: good", f"task: task_{number}"), f"{number}.yaml")
    started = time.perf_counter()
    assert len(index().entries) == 60
    assert time.perf_counter() - started < 1.0  # about 0.05 s; reading them whole takes over 10 s


def test_names_are_lists_with_commas_or_blanks_and_paths_may_hold_blanks(tmp_path: Path) -> None:
    path = tmp_path / "my tasks.yaml"
    path.touch()
    assert split_names(["a,b", "c d", " e , f g", str(path)]) == ["a", "b", "c", "d", "e", "f", "g", str(path)]
    assert split_names([f"a,{path},b c"]) == ["a", str(path), "b", "c"]
    assert split_names([",", " "]) == []


def test_a_file_is_looked_up_alone_and_stands_for_the_name_of_its_task(folder: Path, tmp_path: Path) -> None:
    write(folder, named("packaged"), "packaged.yaml")
    mine = write(tmp_path / "mine", named("mine"), "a file.yaml")
    write(tmp_path / "mine", "no: task\n", "docker-compose.yaml")
    catalog, names = look_up([str(mine), "packaged", str(mine)])
    assert names == ("mine", "packaged")
    assert catalog.entries["mine"].file == mine
    again, names = look_up([str(folder / "packaged.yaml")])  # one that is found by its name, too
    assert names == ("packaged",)
    assert list(again.entries) == ["packaged"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no/such", "no/such: no such task file; expected a YAML file, or the name of a task"),
        ("gone.yaml", "gone.yaml: no such task file; expected"),
        ("tasks/", r"tasks/: is a folder; expected a task file, or --task-path tasks/ and the names of its tasks"),
        ("tasks/groups.yaml", "holds groups; expected a task file, or --task-path tasks and the name of a group"),
        ("", "expected at least one task or group, found none; `harness list tasks` names them all"),
    ],
)
def test_a_path_that_is_no_task_file_says_so(
    name: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "{}\n", "groups.yaml")
    monkeypatch.chdir(folder.parent)
    with pytest.raises(SpecError, match=message):
        look_up([name])
