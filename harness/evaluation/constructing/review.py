"""Human review of a construction: a page with a sample of its items, and the release anew without what is rejected."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data.construction.outputs.assembly import FUNNEL, PEDIGREE, Assembly
from harness.data.construction.outputs.review import read_labels, review_sample
from harness.data.construction.pipeline import Inputs, Pipeline
from harness.data.construction.registry import find_pipeline
from harness.data.roots import data_roots
from harness.errors import SpecError, listed
from harness.evaluation.constructing.construct import LABELS, RUN, Constructed, assemble
from harness.paths import default_cache
from harness.records.atomic_files import write_atomically
from harness.records.codec import digest
from harness.reports.construction.review_page import review_page
from harness.runs.directory import RunDirectory
from harness.runs.rounds import read_inputs, read_sources
from harness.runs.store import RunStore

PAGE = "review.html"
ITEMS_NAMED = 3


def write_review(out: Path, roots: Sequence[str], *, number: int, seed: int) -> tuple[Path, int]:
    """Write the page with a sample of the items; return it, and how many it shows.

    Args:
        out: Folder of a finished construction.
        roots: Data roots, if they are elsewhere by now.
        number: Size of the sample.
        seed: Seed of the sample.
    Raises:
        HarnessError: It is no finished construction, or its data are not there.
    """
    pipeline, inputs, _ = _opened(out, roots)
    lines = review_sample(_pedigree(out), number, seed)
    wanted = {str(line["source"]) for line in lines}
    sources = {source.id: source for source in read_sources(out / RUN) if source.id in wanted}
    page = out / PAGE
    write_atomically(page, review_page(lines, sources, inputs.root, pipeline.title))
    return page, len(lines)


def take_labels(out: Path, labels: Path, roots: Sequence[str]) -> Constructed:
    """Add labels to those of the construction, and make everything anew without what they reject.

    Raises:
        HarnessError: It is no finished construction, its data are not there, or a label is of no item.
    """
    if not labels.is_file():
        raise SpecError(f"--labels {labels}: no such file; expected the one that the page saves")
    given = read_labels(labels)
    pipeline, inputs, options = _opened(out, roots)
    known = {str(line["item"]) for line in _pedigree(out)} | read_labels(out / LABELS).keys()
    unknown = [item for item in given if item not in known]
    if unknown:
        raise SpecError(
            f"--labels {labels}: expected items of {out}, found {listed(unknown, ITEMS_NAMED)}; is it the file of "
            "another construction?"
        )
    record = RunDirectory(out / RUN).read_run()
    funnel = json.loads((out / FUNNEL).read_text(encoding="utf-8"))
    store = RunStore(out / RUN)
    try:
        store.open(record)
        merged = read_labels(out / LABELS) | given
        lines = [
            {
                "item": label.item,
                "label": "keep" if label.keep else "reject",
                **({"note": label.note} if label.note else {}),
            }
            for _, label in sorted(merged.items())
        ]
        write_atomically(out / LABELS, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
        model: Any = record["model"]
        assembly = Assembly(
            pipeline=pipeline,
            inputs=inputs,
            out=out,
            record=record,
            listed=funnel["sources"]["listed"],
            taken=funnel["sources"]["taken"],
            model=None if model is None else str(model["id"]),
            model_digest=None if model is None else digest(model),
            copies=bool(options["copy_media"]),
            labels=out / LABELS,
        )
        made, defects = assemble(assembly, store, cache=inputs.cache, read_back=bool(options["read_back"]))
    finally:
        store.close()
    return Constructed(out=out, asked=0, funnel=made, defects=defects)


def _opened(out: Path, roots: Sequence[str]) -> tuple[Pipeline, Inputs, dict[str, Any]]:
    if not (out / PEDIGREE).is_file() or not (out / RUN).is_dir():
        raise SpecError(f"{out}: expected a finished construction, found none; run `harness construct` on it first")
    record: Any = RunDirectory(out / RUN).read_run()
    options = read_inputs(out / RUN)
    pipeline = find_pipeline(record["construct"]["pipeline"])
    if pipeline.version != record["construct"]["version"]:
        raise SpecError(
            f"{out}: was made by version {record['construct']['version']} of pipeline {pipeline.name}, and this is "
            f"version {pipeline.version}; construct it anew in another folder"
        )
    cache = default_cache()
    found = data_roots(tuple(roots) or tuple(options["data_roots"]), cache)
    root = pipeline.reads.find_root(found.of(pipeline.reads.name)).resolve()
    return pipeline, Inputs(root=root, cache=cache, seed=int(record["seed"])), options


def _pedigree(out: Path) -> Iterator[dict[str, Any]]:
    with (out / PEDIGREE).open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)
