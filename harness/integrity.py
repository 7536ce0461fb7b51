"""The integrity report of a release: what is wrong with its files, and what was repaired by rule."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.records import Json, Sample

SCHEMA = 1
EXAMPLES = 3

FINDINGS: Mapping[str, str] = {
    "missing_file": "listed by the release, not on disk",
    "unreadable_file": "cannot be read",
    "size_mismatch": "mask and image differ in size",
    "empty_mask": "mask without a foreground pixel",
    "full_mask": "mask without a background pixel",
    "unlisted_file": "on disk, not listed by the release",
    "no_mask": "image listed without any mask, nothing to ask",
    "unknown_class": "class id without a name",
    "unparsable_name": "file name outside the release's grammar",
    "missing_value": "record without a value it needs",
    "exif_rotation": "image with an EXIF rotation, which is not applied",
    "train_test_overlap": "test image that also occurs in train",
    "several_masks": "turn with more than one mask or more than one region",
    "foreign_mask": "mask that is named after another image",
    "later_turn": "question after the first of its record, not asked",
    "not_checked": "check that needs a part of the release that is not here",
    "several_layouts": "more than one layout of the release in one folder",
}
"""What each kind of finding means; a duplicate id is no finding but ends the preparation."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: A key of `FINDINGS`.
        where: File below the data root, POSIX, or file and record.
        detail: What was expected and found; empty where `kind` says it all.
    """

    kind: str
    where: str
    detail: str = ""


@dataclass(slots=True)
class Integrity:
    """Collects what a reader meets; two readings of the same bytes give the same report, whatever the machine.

    Attributes:
        findings: What is wrong, in the order met.
        checked: Per kind of finding, how many things were looked at, where that number means something.
        selected: (before, after) numbers of samples of a `where` selection; None without one.
        samples, defective: Samples in the manifest, and those of them that cannot be asked.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    selected: tuple[int, int] | None = None
    samples: int = 0
    defective: int = 0
    _repairs: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, list[str]] = field(default_factory=dict)

    def find(self, kind: str, where: str, detail: str = "") -> None:
        """Add a finding of a kind of `FINDINGS`."""
        assert kind in FINDINGS, kind
        self.findings.append(Finding(kind, where, detail))

    def repair(self, name: str, where: str) -> None:
        """Count a repair by rule under its name, keeping the first places as examples."""
        self._repairs[name] += 1
        examples = self._examples.setdefault(name, [])
        if len(examples) < EXAMPLES:
            examples.append(where)

    def count(self, sample: Sample) -> None:
        """Count a sample of the manifest."""
        self.samples += 1
        self.defective += sample.defect is not None

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings per kind, most frequent first, then by name."""
        counts = Counter(finding.kind for finding in self.findings)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    @property
    def repairs(self) -> dict[str, int]:
        """Number of repairs per name, by name."""
        return dict(sorted(self._repairs.items()))

    def to_json(self) -> dict[str, Json]:
        """Return the report as JSON values: no times, no absolute paths, findings sorted."""
        return {
            "schema": SCHEMA,
            "samples": self.samples,
            "cannot_be_asked": self.defective,
            "selected": None if self.selected is None else dict(zip(("before", "after"), self.selected, strict=True)),
            "counts": dict(sorted(self.counts.items())),
            "checked": dict(sorted(self.checked.items())),
            "findings": [
                {"kind": finding.kind, "where": finding.where, "detail": finding.detail}
                for finding in sorted(self.findings)
            ],
            "repairs": {
                name: {"count": count, "examples": sorted(self._examples[name])} for name, count in self.repairs.items()
            },
        }

    def summary(self) -> str:
        """Return a few lines for a person: the samples, then one line per kind of finding and per repair."""
        lines = [f"{self.samples:,} samples, {self.defective:,} of them cannot be asked"]
        if self.selected is not None:
            lines.append(f"selected {self.selected[1]:,} of {self.selected[0]:,} by the task's `where`")
        lines += [self._line(kind, count) for kind, count in self.counts.items()]
        lines += [
            f"repaired {name}: {count:,} (e.g. {self._examples[name][0]})" for name, count in self.repairs.items()
        ]
        return "\n".join(lines)

    def _line(self, kind: str, count: int) -> str:
        of = f" of {self.checked[kind]:,}" if kind in self.checked else ""
        first = min(finding for finding in self.findings if finding.kind == kind)
        return f"{kind}: {count:,}{of} ({FINDINGS[kind]}; e.g. {first.where})"
