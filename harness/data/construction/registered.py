"""The names of the pipelines; this module imports nothing, so that the help of the command is fast."""

from collections.abc import Mapping

_HERE = "harness.data.construction"
# Name on the command line -> import path of a function that returns the `Pipeline`, and what it makes.
PIPELINES: Mapping[str, tuple[str, str]] = {
    "mecovqa": (
        f"{_HERE}.mecovqa.pipeline:mecovqa",
        "MeCoVQA: descriptions, dialogues, region and grounding questions",
    ),
    "mimoseg": (f"{_HERE}.mimoseg.pipeline:mimoseg", "MIMOSeg: instructions with masks from four perspectives"),
    "m3d-vqa": (f"{_HERE}.m3d_vqa.pipeline:m3d_vqa", "M3D-VQA: questions of five types on volumes with reports"),
    "m3d-refseg": (f"{_HERE}.m3d_refseg.pipeline:m3d_refseg", "M3D-RefSeg: questions that ask for a described region"),
    "m3d-positioning": (
        f"{_HERE}.m3d_positioning.pipeline:m3d_positioning",
        "M3D positioning: boxes asked for by class or definition, and the other way round",
    ),
    "term-dictionary": (f"{_HERE}.term_dictionary.pipeline:term_dictionary", "Definitions of the classes of M3D-Seg"),
    "pubmedvision": (f"{_HERE}.pubmedvision.pipeline:pubmedvision", "PubMedVision: figures and captions, reformatted"),
}
