"""Imports of the packages point one way: down the table below, whether at the top of a file or inside a function."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "reference_model", "leaderboard")

# A module may import from the lines above its own, never from its own or a lower one.
LAYERS = (
    "records errors",
    "windows cache_folder nltk_words packaged sentences tokenize treebank word_net",
    "dicom images",
    "dicom_stack slice_folders",
    "serial journal interruption geometry masks volumes integrity statistics extract yaml_source",
    "dicom_segments box_text grammar slices soft_masks target_size replies replies.reading",
    "replies.strict replies.similarity replies.vlmevalkit",
    "replies.medevalkit",
    "replies.mmmu",
    "crops grids painting fallbacks looked",
    "pointing",
    "task_spec yaml_table model_arguments media overlays answers prior metrics.row releases.reader models.weights",
    "handin slicing metrics.bert_encoder word_net_setup",
    "metrics.boundaries metrics.mask_pairs metrics.matching metrics.ratios",
    "metrics.average_precision metrics.bertscore metrics.boxes metrics.clinical metrics.closed metrics.grounding",
    "metrics.instance metrics.judge metrics.meteor metrics.meteor_java metrics.ngrams metrics.options",
    "metrics.overlap_released metrics.pointing_game metrics.retrieval metrics.surface metrics.text",
    "metrics.choice metrics.cider metrics.overlap metrics.phrase_bert metrics.rouge",
    "metrics releases.pictures releases.alternatives releases.tables",
    "releases.gallery releases.scans",
    "releases.m3d_masks releases.m3d_seg_layout releases.m3d_wording",
    "releases.m3d_refseg releases.m3d_seg_questions",
    "releases.m3d_seg releases.slice_series",
    "releases.cases releases.m3d_reports releases.m3d_scans",
    "releases.m3d_cap releases.m3d_vqa",
    "releases.segmentation",
    "releases.dicom_seg releases.nifti_seg",
    "releases.pathvqa releases.pmc_vqa releases.slake releases.mmmu",
    "releases.mimoseg_prompt releases.mimoseg_record releases.mimoseg_wording",
    "releases.samed2d releases.omnimedvqa releases.vqa_rad",
    "releases.mecovqa releases.mimoseg",
    "releases line_readers",
    "phantoms phantoms.canvas",
    "phantoms.look phantoms.mimoseg_knowledge",
    "phantoms.abdomen phantoms.cameras phantoms.radiology phantoms.waves",
    "phantoms.looks",
    "phantoms.patients",
    "phantoms.dicom_files phantoms.volume_patients",
    "phantoms.questions",
    "phantoms.samed2d",
    "phantoms.segmentation",
    "phantoms.omnimedvqa phantoms.mecovqa phantoms.mimoseg phantoms.vqa_rad",
    "phantoms.m3d_cap phantoms.option_questions",
    "phantoms.m3d_vqa phantoms.medical_vqa",
    "phantoms.mmmu phantoms.medical_vqa_defects",
    "phantoms.m3d_seg",
    "phantoms.m3d_refseg",
    "phantoms.defects",
    "phantoms.mimoseg_defects phantoms.segmentation_defects",
    "phantoms.omnimedvqa_defects phantoms.m3d_defects phantoms.m3d_seg_defects",
    "phantoms.releases",
    "plug_ins",
    "task_metrics wording",
    "task_file",
    "spec score_table",
    "available bounds metric_choice",
    "metric_lines metrics_page",
    "manifest prompting scoring aggregate plan store",
    "near_duplicates integrity_page scoring_pool",
    "models models.scripted models.baseline models.predictions models.reference",
    "planning provenance performance catalogue doctor worker",
    "ledger",
    "runner results validation explain mmmu_submission",
    "explain_text examples",
    "progress report",
    "cluster",
    "session",
    "evaluation",
    "api demonstration",
    "command_line",
    "cli",
)
RANKS = {f"harness.{name}": rank for rank, names in enumerate(LAYERS) for name in names.split()}
RANKS["harness"] = -1  # its public names load on first use, so anyone may import it
ADAPTERS = {
    "harness.models.scripted": {"records", "errors", "geometry", "masks"},
    "harness.models.baseline": {"records", "errors", "geometry", "masks"},
    "harness.models.predictions": {"records", "errors", "geometry", "masks", "handin"},
}


def modules(package: str) -> dict[str, Path]:
    """Return every module of a package of this repository, by dotted name."""
    found = {}
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = {name: path for package in PACKAGES for name, path in modules(package).items()}


SOURCES = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


def imported(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of every module a source imports; a relative import is yielded as `.`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "."
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, reached(f"{node.module}.{alias.name}")) for alias in node.names)


def reached(name: str) -> str:
    """Return the module that `from a.b import c` reaches: `a.b.c` where that is one of ours, else `a.b`."""
    return name if name in MODULES else name.rpartition(".")[0]


def importers(package: str) -> set[str]:
    """Return our modules that import a package or a part of it."""
    return {
        name
        for name, source in SOURCES.items()
        if any(found.partition(".")[0] == package for _, found in imported(source))
    }


def upward(name: str, source: str) -> list[str]:
    """Return every import of a harness module that does not point down the table."""
    return [
        f"{name}:{line} imports {found}, which stands on the same line of LAYERS or further down"
        for line, found in imported(source)
        if found in RANKS and RANKS[found] >= RANKS.get(name, len(LAYERS))
    ]


def test_every_module_of_harness_has_a_rank() -> None:
    found = set(modules("harness"))
    assert found - set(RANKS) == set(), "put new modules into LAYERS"
    assert set(RANKS) - found == set(), "take modules that are gone out of LAYERS"


def test_imports_of_harness_point_one_way() -> None:
    assert [fault for name in modules("harness") for fault in upward(name, SOURCES[name])] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other(package: str) -> None:
    graph = {name: {found for _, found in imported(SOURCES[name])} - {name, package} for name in modules(package)}
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_are_absolute() -> None:
    assert [name for name, source in SOURCES.items() if "." in {found for _, found in imported(source)}] == []


def test_only_the_cluster_imports_ray() -> None:
    assert importers("ray") == {"harness.cluster"}


def test_the_harness_imports_neither_of_the_other_packages() -> None:
    assert not (importers("reference_model") | importers("leaderboard")) & set(modules("harness"))


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_import_only_what_a_submitter_would(name: str) -> None:
    ours = {found for _, found in imported(SOURCES[name]) if found.partition(".")[0] == "harness"}
    assert {found.removeprefix("harness.") for found in ours} <= ADAPTERS[name]


@pytest.mark.parametrize(
    "source",
    ["from harness.cli import main", "import harness.runner", "def later():\n    from harness import spec"],
)
def test_an_upward_import_is_found_wherever_it_stands(source: str) -> None:
    (fault,) = upward("harness.masks", source)
    assert fault.startswith("harness.masks:")
    assert fault.endswith("which stands on the same line of LAYERS or further down")
