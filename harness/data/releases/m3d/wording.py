"""The templates of M3D's questions and answers, from the authors' lists or our own, which are data files.

A release with a `wording.json` of its own is asked in its words; the synthetic ones hold ours.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, get_args

from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError
from harness.paths import packaged_folder
from harness.records import Json

AUTHORS, OURS = "authors", "ours"
FILE = "wording.json"  # a release's own M3D-Seg templates or M3D-Cap questions
# Another seed would choose other templates and definitions, and so move every score; therefore no task offers it.
SEED = 0

Asks = Literal["segmentation", "rec", "reg"]
Kind = Literal["category", "definition"]
ASKS: tuple[Asks, ...] = get_args(Asks)
PARTS = ("cls_questions", "des_questions", "cls_answers", "des_answers", "cls_no_answers", "des_no_answers")
SLOT = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The templates of questions and answers.

    Attributes:
        name: `authors`, `ours`, or the name in the release's own file.
        box: Template around the numbers of a box.
        lists: Templates by what is asked (`segmentation`, `rec` or `reg`) and by part (`PARTS`); `{}` is a slot.
    """

    name: str
    box: str
    lists: Mapping[str, Mapping[str, Sequence[str]]]

    def words(self, asks: Asks, part: str, sample_id: str, *slots: str) -> str:
        """Return the template that the sample's id chooses, with its slots filled in order."""
        template = chosen(self.lists[asks][part], sample_id, part)
        return filled(template, slots)

    def boxed(self, numbers: str) -> str:
        """Return the numbers of a box as they are written in an answer."""
        return filled(self.box, (numbers,))


def chosen(choices: Sequence[str], sample_id: str, what: str) -> str:
    """Return one of `choices`, by the sha256 of `SEED`, `what` and the sample's id, so the same on every machine."""
    # The released code uses Python's `random` in 32 loader workers, so its questions depend on the number of workers.
    digest = hashlib.sha256(f"{SEED}\n{what}\n{sample_id}".encode()).digest()
    return choices[int.from_bytes(digest[:8], "big") % len(choices)]


def filled(template: str, slots: Sequence[str]) -> str:
    """Return a template with its slots filled in order; a template without slots stays as it is."""
    # Not `str.format`, because the text that is filled in may hold braces.
    pieces = template.split(SLOT)
    return "".join(piece + slot for piece, slot in zip_longest(pieces, slots[: len(pieces) - 1], fillvalue=""))


def packaged_wording(name: str) -> bytes:
    """Return the content of the file `authors` or `ours`."""
    return (packaged_folder() / "m3d_bench" / "wording" / f"{name}.json").read_bytes()


def read_wording(files: ReleaseFiles, folder: str, name: str) -> Wording:
    """Return the release's own wording if it has one, else that of `name`.

    Raises:
        DataError: The release's own file holds no wording.
    """
    where = f"{folder}/{FILE}"
    own = files.read(where)
    content = packaged_wording(name) if own is None else own
    try:
        return _wording(json.loads(content))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{where}: expected templates as in tasks/m3d_bench/wording/ours.json, found {error}; repair or remove it"
        ) from error


def _wording(value: Json) -> Wording:
    for asks in ASKS:
        for part in PARTS:
            templates = value[asks][part]
            if not templates or not all(isinstance(template, str) for template in templates):
                raise ValueError(f"no texts under {asks}.{part}")
    return Wording(name=str(value["name"]), box=str(value["box"]), lists={asks: value[asks] for asks in ASKS})


FINDINGS_MARK = "study_findings:"
DISCUSSION_MARK = "discussion:"
LEAST_CHARACTERS = 5  # a part of a text with fewer characters, blanks aside, counts as empty in the released code


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The questions that ask for the report on a volume.

    Attributes:
        name: `authors`, `ours`, or the name in the release's own file.
        wordings: The questions, of which each volume is asked one.
    """

    name: str
    wordings: tuple[str, ...]


def read_questions(files: ReleaseFiles, folder: str, name: str) -> Questions:
    """Return the release's own questions if it has some, as synthetic ones do, else those of `name`.

    Raises:
        DataError: The release's own file holds none.
    """
    where = f"{folder}/{FILE}"
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
    """Return the content of the file `report_authors` or `report_ours`."""
    return (packaged_folder() / "m3d_bench" / "wording" / f"report_{name}.json").read_bytes()


def report_of(text: str) -> str:
    """Return the part of a raw text that the released code takes as the report, in one line.

    It is the text after `study_findings:`; if that is empty, the text after `discussion:`, else the whole text.
    """
    _, marked, findings = text.partition(FINDINGS_MARK)
    found = findings if marked else text
    if _says_nothing(found):
        _, marked, discussion = text.partition(DISCUSSION_MARK)
        found = discussion if marked else text
    return (text if _says_nothing(found) else found).replace("\n", " ").strip()


def _says_nothing(text: str) -> bool:
    return len(text.replace("\n", "").replace(" ", "")) < LEAST_CHARACTERS
