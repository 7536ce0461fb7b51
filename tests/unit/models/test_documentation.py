"""docs/models.md: each line of its table can be typed, names what exists, and claims what a test holds."""

import inspect
import re
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.models import resolve
from harness.models.arguments import parse_arguments
from harness.models.huggingface.checkpoint import DUAL_ENCODERS, Checkpoint, Kind
from harness.records import Json
from harness.text.dialects import typed_answers
from harness.text.dialects.frames import FRAMES, ReplyFrame
from harness.text.dialects.table import DIALECTS

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/models.md").read_text(encoding="utf-8")
CAN = ("text", "letters", "likelihood", "boxes", "points", "masks", "retrieval", "volumes")
# Where the answers of each kind of model are compared with those of what it stands for.
TESTS = {
    "hf": "models/huggingface/test_families.py",
    "sam": "models/segmenters/test_sam.py",
    "sam-med2d": "reference_model/inference/test_segmenter.py",
    "grounded": "models/segmenters/test_grounded.py",
    "openai": "models/endpoint/test_adapter.py",
    "process": "models/process/test_adapter.py",
    "lm-eval": "models/test_lm_eval_model.py",
    "predictions": "models/submitted/test_predictions_file.py",
    "reference": "reference_model/test_adapter.py",
    "scripted": "models/test_scripted.py",
    "baseline": "models/test_baselines.py",
}


@dataclass(frozen=True)
class Row:
    """One row of the table: cells without their quotes, and the line taken apart as a shell does."""

    model: str
    reference: str
    arguments: dict[str, Json]
    dialect: str
    frame: str
    can: tuple[str, ...]

    @property
    def kind(self) -> str:
        return self.reference.partition(":")[0]

    @property
    def family(self) -> str:
        (found,) = re.findall(r"\(`([\w-]+)`\)", self.model)
        return str(found)


def _rows() -> list[Row]:
    table = PAGE.partition("| --- |")[2].partition("\n\n")[0]
    rows = []
    for line in table.splitlines()[1:]:
        model, typed, dialect, frame, can = (cell.strip() for cell in line.strip("|").split("|"))
        words = shlex.split(re.findall(r"`([^`]+)`", typed)[0])
        assert words[0] == "--model", typed
        assert words[2:3] in ([], ["--model-args"]), typed
        listed = tuple(can.rpartition(": ")[2].split(", "))
        rows.append(
            Row(model, words[1], parse_arguments("".join(words[3:])), dialect.strip("`"), frame.strip("`"), listed)
        )
    return rows


ROWS = _rows()
FAMILIES = [row for row in ROWS if row.kind == "hf"]


def each(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.model for row in rows])


@each(ROWS)
def test_a_line_names_a_model_and_arguments_that_it_takes(row: Row) -> None:
    if row.kind.endswith(".py"):
        assert row.kind == "my_model.py"  # the reader's own
        return
    reference = resolve.parse(row.reference, row.arguments)
    factory = resolve.find_factory(reference)
    reader = typed_answers.reply_arguments(factory, row.arguments)
    own = {name: value for name, value in row.arguments.items() if name not in reader}
    inspect.signature(factory).bind(*([] if reference.argument is None else [reference.argument]), **own)
    if row.kind == "grounded":
        first, _, second = (reference.argument or "").rpartition("+")
        assert {first, second} <= {other.reference for other in ROWS}


@each(ROWS)
def test_dialect_and_frame_exist_and_are_those_of_the_line(row: Row) -> None:
    assert (row.dialect, row.frame) == (row.arguments.get("reply", ""), row.arguments.get("frame", ""))
    if row.dialect:
        assert row.frame in FRAMES
        assert row.frame in DIALECTS[row.dialect].frames
        ReplyFrame.read(row.frame, {})


@each(ROWS)
def test_what_a_model_can_do_is_said_in_known_words(row: Row) -> None:
    assert [word for word in CAN if word in row.can] == list(row.can)
    placed = DIALECTS[row.dialect].gives & {"boxes", "points"} if row.dialect else frozenset()
    if row.kind in ("hf", "openai"):
        assert {*row.can} & {"boxes", "points", "masks"} == placed


@each(FAMILIES)
def test_a_family_can_do_what_its_configuration_says(row: Row) -> None:
    kind: Kind = "dual" if row.family in DUAL_ENCODERS else "text" if row.family == "llama" else "image_text"
    config: dict[str, Json] = {"model_type": row.family}
    found = Checkpoint(source="", revision=None, gguf_file=None, weights=Path(), config=config, kind=kind)
    assert ("likelihood" in row.can) == found.scores
    assert row.can[0] == ("retrieval" if kind == "dual" else "text")
    assert ("letters" in row.can) == (kind != "dual")
    assert ("volumes" in row.can) == (kind != "text")


def test_the_families_are_those_whose_answers_are_compared_with_transformers() -> None:
    # That page is held to the checkpoints of the tests in models/huggingface/test_families.py.
    page = (ROOT / "docs/hugging-face.md").read_text(encoding="utf-8")
    table = page.partition("## Families")[2].partition("## Arguments")[0]
    tested = set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) - {"model_type"}
    assert {row.family for row in FAMILIES} == tested
    assert len(FAMILIES) == len(tested)


def test_every_named_model_is_listed_and_has_a_test_of_its_own() -> None:
    listed = {row.kind for row in ROWS} - {"my_model.py"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    offered = project["entry-points"]["medground.models"]
    named = {*resolve.BUILT_IN, *offered} - {"judge"}  # `judge:rules` answers no task, it judges answers
    assert listed == named == set(TESTS)
    for name, file in TESTS.items():
        assert (ROOT / "tests/unit" / file).is_file(), name
