"""A gate's report for people, scripts and CI systems: text, JSON, JUnit, markdown, annotations of GitHub."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from harness.comparison.gating.verdict import GateReport, RowVerdict, Verdict
from harness.errors import listed
from harness.records import Json

WORDS: Mapping[Verdict, str] = {"pass": "PASS", "regression": "REGRESSION", "cannot_judge": "CANNOT JUDGE"}
SUMMARIES: Mapping[Verdict, str] = {
    "pass": "no regression",
    "regression": "the candidate is worse",
    "cannot_judge": "cannot be judged",
}
MOST_STRATA = 8
# XML 1.0 knows no other control characters, not even escaped; ids and strata come from outside.
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(report: GateReport) -> str:
    """Return the report for a terminal: the verdict, then every row, worst first."""
    lines = [f"{WORDS[report.verdict]}: {_headline(report)}"]
    for row in _worst_first(report):
        lines += ["", f"{WORDS[row.verdict]:12s} {_clean(row.title)}", *(f"    {line}" for line in _details(row))]
    lines += [f"note: {_clean(note)}" for note in report.notes]
    return "\n".join(lines)


def _headline(report: GateReport) -> str:
    counts = {verdict: sum(row.verdict == verdict for row in report.rows) for verdict in WORDS}
    parts = [
        f"{count} of {len(report.rows)} {words}"
        for (verdict, count), words in zip(counts.items(), ("pass", "regressed", "cannot be judged"), strict=True)
        if count
    ] or ["the baseline has no scored task"]
    return f"{_clean(report.candidate)} against {_clean(report.baseline)}: {', '.join(parts)}"


def _worst_first(report: GateReport) -> list[RowVerdict]:
    order: list[Verdict] = ["regression", "cannot_judge", "pass"]
    return sorted(report.rows, key=lambda row: order.index(row.verdict))


def _details(row: RowVerdict) -> list[str]:
    """Return what is said of a row below its title, a line each."""
    lines = [_clean(row.reason)]
    if row.remedy:
        lines.append(f"what would let it be judged: {_clean(row.remedy)}")
    lines += [f"in {_clean(line)}" for line in strata_lines(row)]
    lines += [f"lost most: {_clean(line)}" for line in worst_lines(row)]
    return [*lines, *(f"note: {_clean(note)}" for note in row.notes)]


def strata_lines(row: RowVerdict) -> list[str]:
    """Return the strata in which a row lost, worst first, as `modality=ct: 0.51 -> 0.40 (-0.11, 80 samples)`."""
    lines = [
        f"{it.key}={it.value}: {it.baseline:.4f} -> {it.candidate:.4f} ({it.difference:+.4f}; {it.n:,} samples of "
        f"{it.clusters:,} patients)"
        for it in row.strata[:MOST_STRATA]
    ]
    more = len(row.strata) - MOST_STRATA
    return [*lines, f"{more} more strata"] if more > 0 else lines


def worst_lines(row: RowVerdict) -> list[str]:
    """Return the patients that lost most with their samples, worst first."""

    def score(value: float | None) -> str:
        return "no value" if value is None else f"{value:.3g}"

    return [
        f"{it.cluster} ({it.contribution:+.4f} of the difference): "
        + listed([f"{sample} {score(a)} -> {score(b)}" for sample, a, b in it.samples], 3)
        for it in row.worst
    ]


def to_json(report: GateReport) -> dict[str, Json]:
    """Return the report as JSON values; numbers in the metric's own unit."""
    rows = []
    for row in report.rows:
        fields = asdict(row)
        fields["stratum"] = None if row.stratum is None else dict([row.stratum])
        fields["strata"] = [
            {
                "stratum": {it.key: it.value},
                "baseline": it.baseline,
                "candidate": it.candidate,
                "difference": it.difference,
                "n": it.n,
                "clusters": it.clusters,
            }
            for it in row.strata
        ]
        fields["worst"] = [
            {
                "cluster": it.cluster,
                "contribution": it.contribution,
                "samples": [{"sample_id": sample, "baseline": a, "candidate": b} for sample, a, b in it.samples],
            }
            for it in row.worst
        ]
        for key in ("detectable",):
            # No number of samples of this task shows a loss of any size: JSON knows no infinity.
            if fields[key] is not None and fields[key] == float("inf"):
                fields[key] = None
        rows.append(fields)
    return {
        "schema": 1,
        "verdict": report.verdict,
        "exit_code": report.exit_code,
        "baseline": report.baseline,
        "candidate": report.candidate,
        "rows": rows,
        "notes": list(report.notes),
    }


def junit(report: GateReport) -> str:
    """Return the report as JUnit XML: a failed test is a regression, an error one that cannot be judged."""
    failed, unjudged = (str(sum(row.verdict == it for row in report.rows)) for it in ("regression", "cannot_judge"))
    suites, suite = Element("testsuites"), Element("testsuite")
    suites.append(suite)
    for element in (suites, suite):
        for key, value in (
            ("name", "harness gate"),
            ("tests", str(len(report.rows))),
            ("failures", failed),
            ("errors", unjudged),
        ):
            element.set(key, value)
    for row in report.rows:
        case = SubElement(suite, "testcase", classname=xml_text(row.task or "run"), name=xml_text(row.title))
        body = "\n".join(_details(row))
        if row.verdict == "regression":
            SubElement(case, "failure", type="regression", message=xml_text(row.reason)).text = xml_text(body)
        elif row.verdict == "cannot_judge":
            SubElement(case, "error", type="cannot_judge", message=xml_text(row.reason)).text = xml_text(body)
        else:
            SubElement(case, "system-out").text = xml_text(body)
    indent(suites)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(suites, encoding="unicode")}\n'


def markdown(report: GateReport) -> str:
    """Return the report as markdown for the summary of a CI job."""
    lines = [
        f"## harness gate: {SUMMARIES[report.verdict]}",
        "",
        f"{markdown_cell(_headline(report))} (exit code {report.exit_code})",
        "",
        "| verdict | what | baseline | candidate | difference | 95 % interval | p | samples | patients |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in _worst_first(report):
        interval = "" if row.interval is None else "[{:+.4f}, {:+.4f}]".format(*row.interval)
        numbers = [_number(it) for it in (row.baseline, row.candidate)]
        difference = "" if row.difference is None else f"{row.difference:{'.3f' if row.rule == 'ratio' else '+.4f'}}"
        p = "" if row.p_adjusted is None else f"{row.p_adjusted:.2g}"
        cells = [
            WORDS[row.verdict],
            markdown_cell(row.title),
            *numbers,
            difference,
            interval,
            p,
            f"{row.n:,}",
            f"{row.clusters:,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    for row in _worst_first(report):
        if row.verdict != "pass":
            lines += [
                "",
                f"**{markdown_cell(row.title)}**",
                "",
                *(f"- {markdown_cell(line)}" for line in _details(row)),
            ]
    lines += ["", *(f"- note: {markdown_cell(note)}" for note in report.notes)] if report.notes else []
    return "\n".join(lines) + "\n"


def github(report: GateReport) -> str:
    """Return one annotation of GitHub Actions per row: `::error title=...::...`; a line in the policy is named."""
    levels: Mapping[Verdict, str] = {"pass": "notice", "regression": "error", "cannot_judge": "error"}
    lines = []
    for row in _worst_first(report):
        # Cut at the last colon: a path may hold others.
        file, _, line = row.place.rpartition(":")
        place = f"file={_property(file)},line={line}," if file else ""
        title = _property(f"{WORDS[row.verdict]}: {row.title}")
        lines.append(f"::{levels[row.verdict]} {place}title={title}::{_data(chr(10).join(_details(row)))}")
    if not report.rows:
        lines.append(f"::error title=CANNOT JUDGE::{_data(_headline(report))}")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}" if abs(value) < 1e6 else f"{value:.4g}"


def _clean(words: str) -> str:
    """Return words of outside on one line and without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in words)


def xml_text(words: str) -> str:
    """Return words that XML 1.0 can hold: characters that it does not know become `?`."""
    return NOT_IN_XML.sub("?", words)


def markdown_cell(words: str) -> str:
    """Return words for a cell: what markdown or HTML would read as markup is escaped."""
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", _clean(words).replace("&", "&amp;").replace("<", "&lt;"))


def _data(words: str) -> str:
    """Return the message of a workflow command. Source: GitHub, Workflow commands; actions/toolkit, command.ts."""
    return words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(words: str) -> str:
    return _data(words).replace(":", "%3A").replace(",", "%2C")
