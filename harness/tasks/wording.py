"""The words of a paper's prompt: protocol data in a JSON file beside the tasks, read for a task that names it.

The file is `wording/NAME.json` beside the task file or, if families of tasks share it, beside the family's folder.
"""

import json
from collections.abc import Callable
from pathlib import Path

from harness.errors import nearest
from harness.records import Json
from harness.tasks.spec import Wording
from harness.tasks.yaml.mapping import Table

FOLDER = "wording"
REQUIRED = ("prompt", "source", "licence")
KEYS = (*REQUIRED, "open_prompt")


def read_wording(table: Table, folder: Path, faults_of: Callable[[str], list[str]]) -> Wording | None:
    """Return the wording that a task file names; None if it names none, or after a fault was added.

    Args:
        table: The task file.
        folder: Folder of the task file.
        faults_of: Returns the faults of a template.
    """
    name = table.optional_text("wording")
    if not name:
        return None
    try:
        content = json.loads(find_wording(name, folder).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        table.fault("wording", f"expected a JSON file {FOLDER}/{name}.json beside the task or its family: {error}")
        return None
    problems = _problems(content, faults_of)
    for problem in problems:
        table.fault("wording", f"{name}.json: {problem}")
    return None if problems else Wording(name=name, **content)


def find_wording(name: str, folder: Path) -> Path:
    """Return the first file of that name: `wording/NAME.json` in the task's folder, or beside it.

    Raises:
        OSError: There is no such file.
        ValueError: The name is a path and not the name of a file.
    """
    if Path(name).name != name:  # it must not lead out of the folder
        raise ValueError(f"'{name}' is a path; write the name alone")
    places = [base / FOLDER / f"{name}.json" for base in (folder, folder.parent)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise FileNotFoundError("there is none")
    return found


def _problems(content: Json, faults_of: Callable[[str], list[str]]) -> list[str]:
    if not isinstance(content, dict) or not all(isinstance(value, str) and value for value in content.values()):
        return [f"expected texts under the keys {', '.join(KEYS)}"]
    lacking = [f"required key '{key}' is missing" for key in REQUIRED if key not in content]
    unknown = [f"unknown key '{key}'{nearest(key, KEYS)}" for key in content if key not in KEYS]
    templates = [content[key] for key in ("prompt", "open_prompt") if key in content]
    return [*lacking, *unknown, *(fault for template in templates for fault in faults_of(template))]
