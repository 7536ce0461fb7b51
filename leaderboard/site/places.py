"""The files of the site: which page is where below its folder. Links between pages are made of these alone."""

import hashlib
import re

OVERVIEW = "index.html"
PHANTOMS = "phantom.html"
COMPARE = "compare.html"
COMPARED_SAMPLES = "compare/samples"
COMPARED_SCORES = "compare/scores"
TASK_FOLDER = "tasks"
MODEL_FOLDER = "models"
FAMILY_FOLDER = "families"
SAMPLE_FOLDER = "samples"
DATA_FOLDER = "data"
# Pages that list the others of their folder; a task or model of such a name must not replace them.
RESERVED = ("index", "phantom")


def slug(name: str) -> str:
    """Return a file name and anchor for a name: the name itself if it is plain, else one with a digest."""
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,79}", name) and name not in RESERVED:
        return name
    # Names from other people's files may be anything; the digest keeps apart two that become equal below.
    plain = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")[:60]
    return f"{plain}.{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def task_page(place: str, phantom: bool = False) -> str:
    """Return the page of a task or group; phantom numbers have a page of their own."""
    return f"{TASK_FOLDER}/{slug(place)}{'.phantom' if phantom else ''}.html"


def model_page(model: str, phantom: bool = False) -> str:
    """Return the page of a model under the name that its rows show; phantom numbers have a page of their own.

    Names that differ in case, blanks and signs alone are one model, and share a page.
    """
    return f"{MODEL_FOLDER}/{slug(same_name(model))}{'.phantom' if phantom else ''}.html"


def family_page(family: str, phantom: bool = False) -> str:
    """Return the page with the headlines of all tasks of a family."""
    return f"{FAMILY_FOLDER}/{slug(family.lower().replace(' ', '-'))}{'.phantom' if phantom else ''}.html"


def sample_page(entry: str, task: str) -> str:
    """Return the first page of the samples of one entry and task; the board links to it where it is written."""
    return f"{SAMPLE_FOLDER}/{slug(entry)}/{slug(task)}/index.html"


def data_file(place: str, suffix: str, phantom: bool = False) -> str:
    """Return the file with every number of a task or group, strata included."""
    return f"{DATA_FOLDER}/{slug(place)}{'.phantom' if phantom else ''}.{suffix}"


def same_name(name: str) -> str:
    """Return a name without case, blanks and signs: models are the same if these are."""
    return "".join(letter for letter in name.casefold() if letter.isalnum()) or name
