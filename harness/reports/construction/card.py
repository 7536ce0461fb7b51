"""The dataset card of a construction: sizes, strata, licences, funnel, split and digests, as Markdown."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from harness.data.construction.outputs.assembly import RELEASE, Assembly
from harness.data.construction.pipeline import ReadBack
from harness.data.integrity import FINDINGS
from harness.data.manifest import prepare, read_report
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.records.atomic_files import write_atomically
from harness.reports.construction.funnel_page import funnel_page

CARD, FUNNEL_PAGE = "card.md", "funnel.html"
ANY = "*"
NOT_STATED = "not stated; ask the owner of the data"
# Findings that say what could not be looked into, and no fault of the release.
NO_DEFECT = frozenset({"not_checked"})


def write_card(
    assembly: Assembly, funnel: Mapping[str, Any], *, cache: Path, read_back: bool = True
) -> tuple[str, ...]:
    """Write `card.md` and `funnel.html`; return what our own readers find wrong with the release, one line each.

    Args:
        assembly: The construction, whose release is finished.
        funnel: The content of `funnel.json`.
        cache: Folder of the manifests of the readings.
        read_back: Whether the release is read at all: large volumes take hours.
    Raises:
        HarnessError: A reader cannot read the release at all.
    """
    readings: list[tuple[str, int, Mapping[str, int]]] = []
    if read_back:
        for reading in assembly.pipeline.read_back:
            for split in reading.splits:
                kinds = funnel["release"]["by_split"].get(split, {"kinds": funnel["release"]["by_kind"]})["kinds"]
                # A split or subset without an item is an empty file, which no reader takes.
                if any(_is_of(kind, reading.subset) for kind in kinds):
                    readings.append(_read(reading, split, assembly, cache))
    defects = [
        f"{name}: {number} x {kind} ({FINDINGS.get(kind, kind)})"
        for name, _, counts in readings
        for kind, number in counts.items()
    ]
    write_atomically(assembly.out / FUNNEL_PAGE, funnel_page(funnel, assembly.pipeline.title))
    write_atomically(assembly.out / CARD, _card(assembly, funnel, readings if read_back else None))
    return tuple(defects)


def _is_of(kind: str, subset: str | None) -> bool:
    """Return whether items of a kind are in a reader's subset, by their names."""
    return subset is None or kind.startswith(subset) or subset.startswith(kind)


def _read(reading: ReadBack, split: str, assembly: Assembly, cache: Path) -> tuple[str, int, Mapping[str, int]]:
    module, _, name = reading.reader.partition(":")
    reader: Reader = getattr(import_module(module), name)
    request = ReleaseRequest(
        dataset=assembly.pipeline.name, split=split, subset=reading.subset, options=dict(reading.options)
    )
    prepared = prepare(reader, request, roots=(assembly.out / RELEASE,), cache=cache)
    integrity = read_report(prepared.integrity)
    counts = {kind: number for kind, number in integrity.counts.items() if kind not in NO_DEFECT}
    if integrity.defective:
        counts["cannot_be_asked"] = integrity.defective
    subset = f" ({reading.subset})" if reading.subset else ""
    return f"{reader.name}{subset}, {split}", prepared.samples, counts


def _card(
    assembly: Assembly, funnel: Mapping[str, Any], readings: Sequence[tuple[str, int, Mapping[str, int]]] | None
) -> str:
    pipeline, release = assembly.pipeline, funnel["release"]
    synthetic = " **The patients are synthetic.**" if funnel["data"] == "phantom" else ""
    lines = [
        f"# {pipeline.title}",
        "",
        f"Constructed by the pipeline `{pipeline.name}`, version {pipeline.version}, of MedGround, after "
        f"{pipeline.paper}.{synthetic} Research use only; not a medical device.",
        "",
        *_table(
            ("", ""),
            [
                ("model", funnel["model"] or "none: templates alone"),
                ("digest of the model", assembly.model_digest or "none"),
                ("seed", funnel["seed"]),
                ("limit", "none" if funnel["limit"] is None else funnel["limit"]),
                ("sources", f"{funnel['sources']['taken']:,} taken of {funnel['sources']['listed']:,}"),
                ("digest of the sources", assembly.record["sources"]),
                ("digest of prompts and templates", assembly.record["construct"]["data"]),
                ("items", f"{release['items']:,} on {release['sources']:,} sources"),
            ],
        ),
        "## Split",
        "",
        "By patient and frozen: `split.json` names the split of each.",
        "",
        *_table(
            ("split", "share", "patients", "items"),
            [
                (split, f"{pipeline.shares[split]:g}", f"{counts['clusters']:,}", f"{counts['items']:,}")
                for split, counts in release["by_split"].items()
            ],
        ),
        "## Strata",
        "",
        *_table(
            ("stratum", "value", "items"),
            [
                (name, value, f"{number:,}")
                for name, values in (("kind", release["by_kind"]), *release["by_stratum"].items())
                for value, number in values.items()
            ],
        ),
        "## Sources and licences",
        "",
        *_table(
            ("source", "items", "licence"),
            [
                (origin or "not named", f"{n:,}", _licence(pipeline.licences, origin))
                for origin, n in release["by_origin"].items()
            ],
        ),
        "## Prompts and templates",
        "",
        *_table(("file", "version", "source", "licence"), list(_files_of(pipeline.data))),
        "## Funnel",
        "",
        "What came into each step and what left it; `rejected.jsonl` has a line for each that was turned away.",
        "",
        *_table(
            ("step", "unit", "in", "out", "rejected"),
            [
                (
                    step["step"],
                    step["unit"],
                    f"{step['in']:,}",
                    f"{step['out']:,}",
                    ", ".join(f"{reason} {number:,}" for reason, number in step["rejected"].items()) or "none",
                )
                for step in funnel["steps"]
            ],
        ),
        "## Read back",
        "",
        *_readings(readings),
        *(
            ["## Not reproduced", "", *(f"- {line}" for line in pipeline.not_reproduced), ""]
            if pipeline.not_reproduced
            else []
        ),
        "## Files",
        "",
        f"Beside these, {release['media']['files']:,} images, masks and texts of the sources (digest of their names "
        f"`{release['media']['digest'][:16]}`; `pedigree.jsonl` has the sha256 of each).",
        "",
        *_table(("file", "sha256"), list(release["files"].items())),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _readings(readings: Sequence[tuple[str, int, Mapping[str, int]]] | None) -> list[str]:
    if readings is None:
        return ["The release was not read back.", ""]
    rows = [
        (name, f"{samples:,}", ", ".join(f"{kind} {number:,}" for kind, number in counts.items()) or "none")
        for name, samples, counts in readings
    ]
    return _table(("reader and split", "samples", "defects"), rows)


def _files_of(data: Mapping[str, str]) -> Iterable[tuple[str, ...]]:
    from ruamel.yaml import YAML

    for name, text in data.items():
        # Long word lists are JSON, which is read a hundred times as fast.
        value = json.loads(text) if text.startswith("{") else YAML(typ="safe").load(text)
        about = value if isinstance(value, dict) else {}
        yield name, *(str(about.get(key, "not stated")).strip() for key in ("version", "source", "licence"))


def _licence(licences: Mapping[str, str], origin: str) -> str:
    return licences.get(origin) or licences.get(ANY) or NOT_STATED


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table with a blank line behind it; cells keep their own bars."""
    lines = [list(head), ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    return [*(f"| {' | '.join(line)} |" for line in cells), ""]
