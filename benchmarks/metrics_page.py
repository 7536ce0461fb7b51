"""The tables of docs/metrics.md, generated from the table of metrics.

    python benchmarks/metrics_page.py [PAGE]

writes them between their marks in that page (docs/metrics.md by default) and leaves the rest of the page alone.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.markdown import put
from harness.cli.metric.input import EXAMPLES
from harness.cli.metric.lines import run
from harness.metrics import METRICS, Metric
from harness.metrics.certificates import certificate_of
from harness.metrics.metric import EmptyCase, Parameter

MARK = "table"

# The metrics by what they score, in the order of the page; a test holds them to METRICS, so none can be forgotten.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "Options": ("choice_accuracy",),
    "Short answers": ("vqa_accuracy", "token_prf", "mmmu_open"),
    "Texts": ("bleu", "rouge", "meteor", "bertscore", "cider", "clinical_entity_f1"),
    "Masks": ("dice", "iou", "ciou", "nsd", "hd95", "hausdorff", "hit_rate", "volume_error", "no_target_accuracy"),
    "Instances": ("ap50", "ap", "miou", "precision_at_0.5", "panoptic_quality", "detection_f1", "instance_f1", "cgf1"),
    "Names with masks": ("mask_to_entity_f1", "glamm_recall", "hallucination", "phrase_grounding_pointing_game"),
    "Boxes": ("rec_accuracy", "rec_iou"),
    "Retrieval": ("retrieval",),
    "Judges": ("judge",),
}

# Of `box_frames`: the image as [H, W], boxes in pixels, none of them large, and what a side measures in each frame.
IMAGE = [600, 800]
PERFECT_BOXES = ([40, 30, 160, 150], [500, 60, 620, 200], [100, 380, 260, 540], [610, 420, 760, 570])
FRAMES: Mapping[str, int | None] = {"pixels": None, "thousandths": 1000, "shares of the sides": 1}

_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_REPOSITORY = re.compile(r"\b(github\.com/[\w.-]+/[\w-]+)")
# GitHub would take `<` for HTML and `*` for emphasis.
_MARKUP = str.maketrans({"<": "&lt;", "*": "\\*"})


def markdown() -> str:
    """Return the text between the marks: the kinds of input lines, the contents, and every metric by family."""
    kinds = (f"| {kind} | `{example}` |" for kind, example in EXAMPLES.items())
    # GitHub makes the anchor of a one-word heading from the word without its dots.
    anchors = {name: name.replace(".", "") for names in FAMILIES.values() for name in names}
    links = (
        f"- {family}: {', '.join(f'[{name}](#{anchors[name]})' for name in names)}"
        for family, names in FAMILIES.items()
    )
    sections = [
        "\n".join(["| kind | a line |", "| --- | --- |", *kinds]),
        "\n".join(["## Contents", "", *links]),
    ]
    for family, names in FAMILIES.items():
        sections += [f"## {family}", *(_section(name) for name in names)]
        if family == "Boxes":
            sections.append(box_frames())
    return "\n\n".join(sections)


def _section(name: str) -> str:
    # METRICS has one row per metric and protocol; a section shows the protocols in that order.
    rows = [metric for metric in METRICS if metric.name == name]
    protocols = []
    for row in rows:
        source = _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", _cell(row.source))
        source = _REPOSITORY.sub(r"[\1](https://\1)", source)
        protocols.append(f"| `{row.protocol}` | {_cell(row.summary)} | {_cell(row.formula)} | {source} |")
    facts = (f"| {fact} | {text} |" for fact, read in _FACTS.items() if (text := _said(rows, read)))
    first = ["| protocol | what it does | formula | source |", "| --- | --- | --- | --- |", *protocols]
    second = ["| fact | of all protocols, or by protocol |", "| --- | --- |", *facts]
    return "\n".join([f"### {name}", "", *first, "", *second])


def box_frames() -> str:
    """Return what one set of perfect boxes scores under each rule for boxes, by the frame that the reply counts in."""
    # At the 0.5 of the others.
    rules: list[tuple[str, tuple[str, ...]]] = [
        ("standard", ("threshold=0.5", f"text_frame={frame}")) for frame in ("original", "per_mille", "unit")
    ]
    rules += [(name, ()) for name in ("lmms-eval", "lmms-eval-rec", "vlmevalkit", "evalscope")]
    height, width = IMAGE
    rows = []
    for protocol, params in rules:
        cells = []
        for whole in FRAMES.values():
            lines = []
            for box in PERFECT_BOXES:
                numbers = [
                    number if whole is None else round(number * whole / (width, height)[place % 2], 6)
                    for place, number in enumerate(box)
                ]
                line = {"prediction": str(numbers), "target": box, "image_size": IMAGE}
                lines.append(json.dumps(line).encode())
            *_, last = run(lines, "rec_accuracy", protocol, params, aggregate=True)
            aggregate = last.value["aggregate"]
            assert isinstance(aggregate, dict)
            cells.append(f"{aggregate['values']['rec_accuracy']:g}")
        rows.append(f"| `{' '.join((protocol, *params))}` | {' | '.join(cells)} |")
    return "\n".join(
        [
            "### One set of perfect boxes under each box rule",
            "",
            f"`rec_accuracy` of {len(PERFECT_BOXES)} replies that hold the target itself, on an image of {width} x "
            f"{height}. Only the frame in which a reply counts differs.",
            "",
            f"| rule | {' | '.join(FRAMES)} |",
            "| --- |" + " --- |" * len(FRAMES),
            *rows,
        ]
    )


def _said(rows: Sequence[Metric], read: Callable[[Metric], str]) -> str:
    """Return a fact once if all protocols share it, else each text behind the protocols that it holds for."""
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(_cell(read(row)), []).append(f"`{row.protocol}`")
    if len(texts) == 1:
        return next(iter(texts))
    return "<br>".join(f"{', '.join(protocols)}: {text}" for text, protocols in texts.items() if text)


def _cell(text: str) -> str:
    """Return the text escaped for a cell of a table; text between backticks is shown verbatim."""
    # A pipe ends the cell even between backticks, so it is escaped there too.
    parts = text.replace("|", "\\|").split("`")
    shown = "`".join(part if place % 2 else part.translate(_MARKUP) for place, part in enumerate(parts))
    return shown.replace("\n", "<br>")


# --- the facts


_CASES: Mapping[EmptyCase, str] = {
    None: "-",
    "worst": "the worst value",
    "undefined": "`undefined`",
    "unparsed": "`unparsed`, the worst value",
    "unjudged": "`unjudged`",
    "varies": "see below",
}


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _range(metric: Metric) -> str:
    least, most = metric.range
    bounds = f"{least:g} to {most:g}" if most is not None else f"{least:g} and more"
    return f"{bounds}, {metric.unit}, {'higher' if metric.higher_is_better else 'lower'} is better"


def _case(case: EmptyCase) -> str:
    return f"{case:g}" if isinstance(case, float) else _CASES[case]


def _parameter(parameter: Parameter) -> str:
    default = str(parameter.default).lower() if isinstance(parameter.default, bool) else parameter.default
    choices = f" (or {_code([str(choice) for choice in parameter.choices if choice != default])})"
    return f"`{parameter.name}={default}`{choices if parameter.choices else ''}: {parameter.summary}"


def _needs(metric: Metric) -> str:
    if metric.resource is None:
        return ""
    stand_in = f"; without it `{metric.resource.stand_in}` is scored, and named" if metric.resource.stand_in else ""
    return f"{metric.resource.name}{stand_in}"


# Rows of the second table of a metric, by name; a row without text is left out.
_FACTS: Mapping[str, Callable[[Metric], str]] = {
    "values": lambda metric: _code(metric.values),
    "range": _range,
    "mean": lambda metric: "`pooled` only" if metric.corpus else "`micro`, or what the task asks for",
    "empty prediction": lambda metric: _case(metric.empty.prediction),
    "empty target": lambda metric: _case(metric.empty.target),
    "both empty": lambda metric: _case(metric.empty.both),
    "on empty sides": lambda metric: metric.empty.note,
    "caveat": lambda metric: metric.caveat or "",
    "certificate": lambda metric: certificate.text if (certificate := certificate_of(metric)) is not None else "",
    "parameters": lambda metric: "\n".join(map(_parameter, metric.parameters)),
    "needs": _needs,
    "suits": lambda metric: _code(sorted(metric.suits)),
    "line": lambda metric: metric.line,
    "stats": lambda metric: f"{_code(metric.stats)}{', ...' if metric.pool is not None else ''}",
    "version": lambda metric: str(metric.version),
}


def write(path: Path) -> None:
    """Replace the tables of a page by those of today.

    Raises:
        DataError: The page lacks its marks.
    """
    path.write_text(put(path.read_text(encoding="utf-8"), MARK, markdown()), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/metrics.md"))
