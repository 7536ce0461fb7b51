"""The table of the pipelines; their code and data load when one is asked for, so that the help of a command is fast."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from harness.errors import SpecError, nearest

if TYPE_CHECKING:
    from harness.data.construction.pipeline import Pipeline

_HERE = "harness.data.construction"
# Name on the command line -> import path of a function that returns the `Pipeline`, and what it makes.
PIPELINES: Mapping[str, tuple[str, str]] = {
    "mecovqa": (
        f"{_HERE}.mecovqa.pipeline:mecovqa",
        "MeCoVQA: descriptions, dialogues, region and grounding questions",
    ),
    "mimoseg": (f"{_HERE}.mimoseg.pipeline:mimoseg", "MIMOSeg: instructions with masks from four perspectives"),
    "m3d-vqa": (f"{_HERE}.m3d.vqa:m3d_vqa", "M3D-VQA: questions of five types on volumes with reports"),
    "m3d-refseg": (f"{_HERE}.m3d.refseg:m3d_refseg", "M3D-RefSeg: questions that ask for a described region"),
    "m3d-positioning": (
        f"{_HERE}.m3d.positioning:m3d_positioning",
        "M3D positioning: boxes of classes, and classes of boxes",
    ),
    "term-dictionary": (f"{_HERE}.m3d.terms:term_dictionary", "Definitions of the classes of M3D-Seg"),
    "pubmedvision": (f"{_HERE}.pubmedvision.pipeline:pubmedvision", "PubMedVision: figures and captions, reformatted"),
}


def find_pipeline(name: str, table: Mapping[str, tuple[str, str]] = PIPELINES) -> "Pipeline":
    """Return the pipeline of this name.

    Args:
        name: A key of the table.
        table: Import path and one line about each pipeline by name.
    Raises:
        SpecError: There is none.
    """
    if name not in table:
        raise SpecError(f"construct {name}: expected one of {', '.join(table)}{nearest(name, tuple(table))}")
    module, _, attribute = table[name][0].partition(":")
    found: Pipeline = getattr(import_module(module), attribute)()
    return found
