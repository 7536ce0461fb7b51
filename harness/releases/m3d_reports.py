"""The words of M3D-Cap: what a report is asked for in, and which part of a text is the report."""

import json
from dataclasses import dataclass

from harness.errors import DataError
from harness.paths import packaged_folder
from harness.releases.reader import ReleaseFiles

WORDING = "wording.json"

FINDINGS_MARK = "study_findings:"
DISCUSSION_MARK = "discussion:"
LEAST_CHARACTERS = 5
"""A part of a text with fewer characters, blanks aside, says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """What may be asked of a volume to get the report on it.

    Attributes:
        name: Whose words they are.
        wordings: Each volume is asked by one of them.
    """

    name: str
    wordings: tuple[str, ...]


def read_questions(files: ReleaseFiles, folder: str, name: str) -> Questions:
    """Return the release's own questions where it brings some, as drawn ones do, else those of `name`.

    Raises:
        DataError: The release's own file holds none.
    """
    where = f"{folder}/{WORDING}"
    own = files.read(where)
    content = packaged_questions(name) if own is None else own
    try:
        value = json.loads(content)
        wordings = tuple(str(text) for text in value["report_generation"])
        if not wordings:
            raise ValueError("an empty list")
        return Questions(name=str(value["name"]), wordings=wordings)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: expected a name and a list report_generation as in tasks/m3d_bench/wording/report_ours.json, "
            f"found {error}; repair or remove it"
        ) from error


def packaged_questions(name: str) -> bytes:
    """Return the file of `authors` or `ours`."""
    return (packaged_folder() / "m3d_bench" / "wording" / f"report_{name}.json").read_bytes()


def report_of(text: str) -> str:
    """Return the part of a raw text that the release takes as the report, in one line.

    It is what follows `study_findings:`; where that says nothing what follows `discussion:`, else the whole text.
    """
    _, marked, findings = text.partition(FINDINGS_MARK)
    found = findings if marked else text
    if _says_nothing(found):
        _, marked, discussion = text.partition(DISCUSSION_MARK)
        found = discussion if marked else text
    return _one_line(text if _says_nothing(found) else found)


def _says_nothing(text: str) -> bool:
    return len(text.replace("\n", "").replace(" ", "")) < LEAST_CHARACTERS


def _one_line(text: str) -> str:
    return text.replace("\n", " ").strip()
