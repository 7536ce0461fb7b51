"""The members of a bundle, by the names that they have in a run directory.

    bundle.json                     the digest of every other member, and the capabilities that the requests depend on
    run.json, results.json          as in the run directory
    predictions/predictions.jsonl   each request of the plan once, in its order, without prompts and tracebacks
    blobs/<sha256>.json.zst         masks that are too large for a line
    judgements/<judge>/             run.json, samples.jsonl and predictions/ of each judge
    judgements/panels.json          how judges are joined
    card.md                         what a person reads first

No target and no image is in it: whoever verifies a bundle brings the data.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from harness.errors import DataError
from harness.models.description import FIELDS, ModelDescription, undescribed
from harness.paths import default_cache
from harness.records import Capabilities, Json
from harness.runs.cells import capabilities_from_json
from harness.runs.directory import RunDirectory
from harness.runs.judgements import FOLDER, PANELS, JudgeFolder
from harness.tasks.catalog import index

SCHEMA = 1
INDEX = "bundle.json"
CARD = "card.md"
JUDGES = FOLDER

# Relative to the root of the archive; the names of a run directory are in one module.
INSIDE = RunDirectory(Path())
RUN = INSIDE.run_path.as_posix()
RESULTS = INSIDE.results_path.as_posix()
PREDICTIONS = INSIDE.predictions_path.as_posix()
PANELS_FILE = f"{FOLDER}/{PANELS}"
REQUIRED = (INDEX, CARD, RUN, RESULTS, PREDICTIONS)
JUDGE_NAME = re.compile(r"[0-9]{3}-[A-Za-z0-9_-]{1,80}-[0-9a-f]{8}")


class UnverifiedBundleError(DataError):
    """Raised when numbers cannot be verified here, because data or resources are absent; they may still be right."""


def blob_name(sha256: str) -> str:
    """Return the member that holds the masks with this digest."""
    return INSIDE.blob_path(sha256).as_posix()


def judge_members(name: str) -> tuple[str, str, str]:
    """Return the members of the judge in folder `name`: its record, the answers that it judges, and its replies."""
    folder = JudgeFolder(Path(FOLDER) / name)
    paths = (folder.directory.run_path, folder.samples_path, folder.directory.predictions_path)
    record, samples, replies = (path.as_posix() for path in paths)
    return record, samples, replies


def is_blob(name: str) -> bool:
    """Return whether a member holds masks, by its name."""
    digest = Path(name).name.partition(".")[0]
    return re.fullmatch(r"[0-9a-f]{64}", digest) is not None and name == blob_name(digest)


def judge_of(name: str) -> str | None:
    """Return the folder of the judge that a member belongs to, by its name; None for any other member."""
    head, _, rest = name.partition("/")
    judge = rest.partition("/")[0]
    if head != FOLDER or not JUDGE_NAME.fullmatch(judge):
        return None
    return judge if name in judge_members(judge) else None


def is_member(name: str) -> bool:
    """Return whether a bundle may hold a member of this name."""
    return name in (*REQUIRED, PANELS_FILE) or is_blob(name) or judge_of(name) is not None


def identity_of(model: Mapping[str, Json]) -> dict[str, Json]:
    """Return the part of the `model` block of `run.json` that the keys of requests depend on."""
    return {name: value for name, value in undescribed({"model": model})["model"].items() if name != "oracle"}


def check_description(model: Mapping[str, Json]) -> None:
    """Check name, page, paper, size and licence in the `model` block of `run.json`, as their options are checked.

    Raises:
        SpecError: One has another form, or is too long.
    """
    # A number is given as one, all others as text; str() keeps a wrong type from passing as the text it is not.
    given = {
        name: model[name] if isinstance(model[name], int) else str(model[name]) for name in FIELDS if name in model
    }
    ModelDescription.read(**given)


def read_capabilities(value: Json) -> Capabilities:
    """Return the capabilities in `bundle.json`.

    Raises:
        ValueError: The value has another form.
    """
    if not isinstance(value, dict):
        raise ValueError("expected an object")
    return capabilities_from_json(value)


@cache
def shipped_names() -> frozenset[str]:
    """Return the names of all tasks and groups that come with the harness; any other is somebody's own."""
    shipped = index()
    return frozenset({*shipped.entries, *shipped.groups})


def receipt_folder(sha256: str) -> Path:
    """Return where the outcome of verifying a bundle is kept, for this version of the harness.

    Args:
        sha256: Of the bundle.
    """
    return default_cache() / "verified" / f"{sha256}-{metadata.version('medground')}"
