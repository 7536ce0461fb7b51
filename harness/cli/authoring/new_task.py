"""`harness new-task`: write a task file for a folder or a table."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import AS_JSON, EXIT_BAD_INPUT, errors_as_exit_codes, say, write_json

if TYPE_CHECKING:
    from harness.tasks.new_task.draft import Draft


@click.command("new-task")
@click.argument("source", metavar="FOLDER|FILE", type=click.Path(path_type=Path))
@click.option("--name", help="Name of the task [default: that of the folder or file].")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("my-tasks"),
    show_default=True,
    help="Folder for the task file.",
)
@click.option("--label", "labels", multiple=True, help="NAME=VALUE or NAME=1,2: a label of the masks; may be repeated.")
@click.option("--images", help="Pattern of the images, if several fit, such as 'images/{case}.*'.")
@click.option("--masks", help="Pattern of the masks, if several fit, such as 'masks/{case}.png'.")
@click.option("--split", help="The split to evaluate [default: test if there is one].")
@click.option("--modality", help="ct, mr, xray, us, derm, fundus, endo, oct, micro, pet or other.")
@click.option("--force", is_flag=True, help="Overwrite a task file of this name.")
@AS_JSON
@click.pass_obj
def new_task(
    debug: bool,
    source: Path,
    name: str | None,
    out: Path,
    labels: tuple[str, ...],
    images: str | None,
    masks: str | None,
    split: str | None,
    modality: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write a task file for a folder of images or volumes with masks, or for a table of questions.

    It says what it found and how it reads it, checks the task as `harness validate` does, and prints the command that
    runs it. Comments in the file name what only you can decide.
    """
    from harness.errors import SpecError
    from harness.evaluation import validate as validation
    from harness.paths import default_cache
    from harness.tasks.new_task.draft import Choices, task_name
    from harness.tasks.new_task.inspection import look

    with errors_as_exit_codes(debug):
        if name is not None and name != task_name(name):
            raise SpecError(f"--name {name}: expected small letters, digits and '_-.', such as {task_name(name)}")
        choices = Choices(
            name=name,
            labels=_labels(labels),
            images=images,
            masks=masks,
            split=split,
            modality=modality,
            cache=default_cache(),
        )
        drafts = _named(look(source, choices), name)
        files = [out / f"{draft.name}.yaml" for draft in drafts]
        root = drafts[0].data_root
        _check_place(files, source, out, force=force)
        for line in _said(drafts[0].seen, drafts[0].taken, drafts[0].open):
            say(line)
        for draft, file in zip(drafts, files, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(draft.to_yaml(), encoding="utf-8")
            say(f"wrote   {file}")
        shown_root = _shortest(root)
        reports = validation.validate([str(file) for file in files], [], [shown_root], default_cache())
        say(validation.text(reports))
        words = ["harness", "run", "--tasks", ",".join(map(str, files)), "--data-root", shown_root]
        words += ["--model", drafts[0].model]
        faulty = any(report.faults for report in reports)
        if as_json:
            write_json(
                {
                    "tasks": [draft.name for draft in drafts],
                    "files": [str(file) for file in files],
                    "data_root": shown_root,
                    "seen": list(drafts[0].seen),
                    "taken": list(drafts[0].taken),
                    "decide": list(drafts[0].open),
                    "valid": not faulty,
                    "command": words,
                }
            )
        elif not faulty:
            say("next")
            click.echo(shlex.join(words))
        if faulty:
            say(f"harness: correct the errors above in {files[0]}, then run")
            say(f"  harness validate {files[0]} --data-root {shlex.quote(shown_root)}")
            sys.exit(EXIT_BAD_INPUT)


def _named(drafts: Sequence["Draft"], name: str | None) -> list["Draft"]:
    """Return the drafts with names that no task of the harness has; a folder may be called `slake` or `segmentation`.

    Raises:
        SpecError: The user has chosen such a name.
    """
    from harness.errors import SpecError
    from harness.tasks.catalog import index

    catalog = index()
    taken = [draft.name for draft in drafts if draft.name in catalog.entries or draft.name in catalog.groups]
    if not taken:
        return list(drafts)
    if name is not None:
        raise SpecError(f"--name {name}: a task or group of the harness is called '{taken[0]}'; choose another")
    return [replace(one, name=f"own_{one.name}", dataset=one.dataset and f"own_{one.dataset}") for one in drafts]


def _labels(given: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return the values of each `NAME=VALUE` or `NAME=1,2`.

    Raises:
        SpecError: One is not of this form.
    """
    from harness.errors import SpecError

    labels: dict[str, tuple[int, ...]] = {}
    for text in given:
        name, _, values = text.partition("=")
        numbers = values.split(",")
        if not name or not all(number.strip().isdigit() and int(number) > 0 for number in numbers):
            raise SpecError(f"--label {text}: expected NAME=VALUE with whole numbers of at least 1, such as polyp=255")
        labels[name] = tuple(map(int, numbers))
    return labels


def _check_place(files: Sequence[Path], source: Path, out: Path, *, force: bool) -> None:
    """Check that the files can be written.

    Raises:
        SpecError: One exists, or would lie in the data.
    """
    from harness.errors import SpecError

    data = source.resolve() if source.is_dir() else None
    if data is not None and (out.resolve() == data or data in out.resolve().parents):
        raise SpecError(f"--out {out}: lies in the data, where nothing is written; name another folder")
    taken = [file for file in files if file.exists()]
    if taken and not force:
        raise SpecError(f"{taken[0]}: exists; give another --name or --out, or --force to overwrite it")


def _said(seen: Sequence[str], taken: Sequence[str], decide: Sequence[str]) -> list[str]:
    """Return the lines of a look, each kind under its word."""
    return [
        f"{word if not number else '':8}{line}"
        for word, lines in (("seen", seen), ("taken", taken), ("decide", decide))
        for number, line in enumerate(lines)
    ]


def _shortest(path: Path) -> str:
    """Return a path as it is written from here if that is shorter, as a person would type it."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) and not relative.startswith("../..") else str(path)
