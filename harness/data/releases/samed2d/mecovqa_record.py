"""Records of MeCoVQA as its authors ship them, and the parser of their fields."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.data.integrity import Integrity
from harness.data.releases.reader import UNKNOWN
from harness.records import Json

TURNS = "conversations"
TURNS_MISSPELT = "conversatons"  # as in LLaVA-Med's alignment data, which have the same format
IMAGE_MARK = "<image>"
REGION_MARK = "<region>"
SEGMENT_MARK = "<SEG>"


@dataclass(frozen=True, slots=True, kw_only=True)
class MecoRecord:
    """One record after repairs.

    Attributes:
        place: File and number, for messages.
        id: As released, before the reader adds a count.
        image: Path below SA-Med2D's folder; None if the record names none.
        question: First human turn, without region paths.
        answer: First reply, without mask tags.
        regions, masks: Paths below SA-Med2D's folder, in the order of the question and of the answer.
        defect: Why the record cannot be asked, judged by its words alone; None if it can.
    """

    place: str
    id: str
    image: str | None
    question: str
    answer: str
    regions: tuple[str, ...]
    masks: tuple[str, ...]
    defect: str | None


@dataclass(slots=True)
class RecordParser:
    """Parses one record, and remembers the first reason why it cannot be asked."""

    place: str
    subset: str
    integrity: Integrity
    defect: str | None = None

    def lack(self, name: str) -> None:
        self.integrity.find("missing_value", self.place, name)
        self.defect = self.defect or f"the record has no {name}"

    def text(self, value: Json) -> str:
        """Return a value as text; empty if it is absent."""
        if value is None or isinstance(value, str):
            return value or ""
        self.integrity.repair("value_cast_to_text", self.place)
        return str(value)

    def with_suffix(self, path: str, what: str) -> str:
        """Return a path with the suffix `.png`, which some released records lack."""
        if path.endswith(".png"):
            return path
        self.integrity.repair(f"{what}_suffix_added", self.place)
        return f"{path}.png"

    def image(self, record: Mapping[str, Json]) -> str | None:
        path = self.text(record.get("image")).strip()
        if not path:
            self.lack("image")
            return None
        return self.with_suffix(path, "image")

    def id(self, record: Mapping[str, Json], image: str | None) -> str:
        """Return the record's id, or its image's stem if it has none."""
        found = self.text(record.get("id")).strip()
        if found:
            return found
        self.integrity.repair("id_from_image", self.place)
        return UNKNOWN if image is None else image.rpartition("/")[2].removesuffix(".png")

    def first_turn(self, record: Mapping[str, Json]) -> tuple[str, str]:
        """Return the words of the first question and of the reply to it; later questions are counted."""
        found = record.get(TURNS)
        if found is None and TURNS_MISSPELT in record:
            self.integrity.repair("conversations_spelling", self.place)
            found = record[TURNS_MISSPELT]
        turns = [turn for turn in found if isinstance(turn, dict)] if isinstance(found, list) else []
        asked = [index for index, turn in enumerate(turns) if turn.get("from") == "human"]
        for number in range(2, len(asked) + 1):
            self.integrity.find("later_turn", f"{self.place}: question {number}")
        if not asked:
            return "", ""
        end = asked[1] if len(asked) > 1 else len(turns)
        replies = [turn.get("value") for turn in turns[asked[0] : end] if turn.get("from") == "gpt"]
        return self.text(turns[asked[0]].get("value")), self.text(replies[0]) if replies else ""

    def paths(self, tag: re.Pattern[str], text: str, what: str) -> tuple[str, ...]:
        """Return the mask paths between tags; more than one is a defect, as the released code reads one per turn."""
        found = [path.strip() for path in tag.findall(text)]
        if len(found) > 1:
            self.integrity.find("several_masks", self.place, f"{len(found)} {what}s")
            self.defect = self.defect or f"the turn has {len(found)} {what}s, expected at most one"
        return tuple(self.with_suffix(path, "mask") for path in found if path)

    def check_answer(self, reply: str, regions: Sequence[str], masks: Sequence[str]) -> None:
        """Report the parts that records of its subset need and this one lacks."""
        if self.subset == "region" and not regions:
            self.lack("region")
        if self.subset == "grounding":
            if not masks:
                self.lack("mask")
            if SEGMENT_MARK not in reply:
                # Scored all the same: the mask says what is meant.
                self.integrity.find("missing_value", self.place, SEGMENT_MARK)
        elif not reply:
            self.lack("answer")
