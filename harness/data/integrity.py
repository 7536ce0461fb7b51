"""The integrity report of a release: the faults of its files, and the repairs made by rule."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from string import ascii_uppercase

from harness.records import Json, Sample

SCHEMA = 3  # version of the report's JSON; with a new one every release is prepared again
EXAMPLES = 3  # places that the report keeps for each kind of repair, and findings of each kind that a person is shown
# If more than this share of a class's masks seem inverted, the class may simply fill its images, so none is reported.
INVERTED_SHARE_MOST = 0.9

# The meaning of each kind of finding, as the report prints it. A duplicate id is no finding: it ends the preparation.
FINDINGS: Mapping[str, str] = {
    "missing_file": "listed by the release, not on disk",
    "unreadable_file": "cannot be read",
    "size_mismatch": "mask and image differ in size",
    "empty_mask": "mask without a foreground pixel",
    "full_mask": "mask without a background pixel",
    "inverted_mask": "mask of all but the structure, as others of its class are not",
    "unlisted_file": "on disk, not listed by the release",
    "no_mask": "image listed without any mask, nothing to ask",
    "missing_image": "mask whose image is not there",
    "passed_over": "files among the images that are not images, not asked about",
    "unknown_class": "class id without a name",
    "unparsable_name": "file name outside the release's grammar",
    "missing_value": "record without a value it needs",
    "unknown_value": "value that the release's own lists do not have",
    "exif_rotation": "image with an EXIF rotation",
    "train_test_overlap": "test image that also occurs in train",
    "patient_overlap": "test patient of whom train has other images",
    "slice_left_out": "picture in a folder of slices that is no part of the volume",
    "near_duplicate": "image that shows the same as one of another cluster",
    "answer_not_among_options": "right answer that is not one of the options",
    "duplicate_option": "option that another one repeats, so that two letters are as right or as wrong",
    "several_masks": "turn with more than one mask or more than one region",
    "foreign_mask": "mask that is named after another image",
    "entity_mismatch": "answer that wraps other names than there are masks for",
    "misplaced_prompt": "visual prompt outside of its image, or on none of its masks",
    "later_turn": "question after the first of its record, not asked",
    "not_asked": "part of the release that is counted and not asked",
    "not_checked": "check that needs a part of the release that is not here",
    "duplicate_class": "class name that the release's list has twice",
    "class_not_listed": "class of a case that the listing leaves out, not asked",
    "several_layouts": "more than one layout of the release in one folder",
    "frame_mismatch": "mask and volume differ in position, spacing or orientation",
    "geometry_conflict": "headers that contradict each other on where voxels lie or how large they are",
    "skewed_grid": "volume whose axes are not at right angles (tilted gantry, shear)",
    "resampled_mask": "DICOM segmentation on another grid than its series, brought to it by nearest centres",
    "uneven_slices": "DICOM series whose slices are not quite evenly spaced, taken as even",
    "soft_mask": "mask of two values that holds more (JPEG, smoothed edges, probabilities), cut at half",
    "merged_values": "mask of several values that no label names, all of them taken as foreground",
    "alpha_mask": "mask in the alpha channel of an image of one colour",
    "nan_background": "mask with NaN, taken as background",
    "unknown_label": "label image with a value that no label names",
    "missing_slices": "DICOM series with gaps or uneven steps between its slices",
    "doubled_slices": "DICOM series with several slices in one place, of which one is kept",
    "foreign_slices": "DICOM series with slices of another size or direction, which are left out",
    "other_series": "DICOM series beside the one that is asked about",
    "segmentation_remark": "DICOM segmentation that needs a word",
    "not_dicom": "file in a DICOM folder that is no DICOM image",
    "unreadable_options": "options that are no list of 2 to 26 texts",
    "label_mismatch": "right letter and right answer that mean different options",
    "malformed_line": "line with fewer parts than the release's lines have, not asked",
    "unreadable_record": "record with text or a number that no file can hold, not asked",
    "extra_separator": "answer with a separator of columns in it, kept whole",
    "repeated_record": "record that says the same as an earlier one, kept",
    "mixed_answers": "right option named by letter in a table that names them by text, or the other way round",
    "outside_path": "image named by an address or outside of the data root, not opened",
    "no_answer": "questions whose right answer the release does not tell: asked, not scored",
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault of a release.

    Attributes:
        kind: A key of `FINDINGS`.
        where: Path of the file below the data root with forward slashes, or file and record.
        detail: What was expected and found; empty if `kind` says it all.
        image: The image that a mask belongs to, or that `where` is compared with; empty if there is none.
    """

    kind: str
    where: str
    detail: str = ""
    image: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Json]:
        """Return the finding as JSON values, with `image` only if there is one."""
        named = {"kind": self.kind, "where": self.where, "detail": self.detail}
        return named | {"image": self.image} if self.image else named


@dataclass(slots=True)
class _Class:
    """The masks of one class: the findings on those that seem inverted, by file, and the number of the others."""

    inverted: dict[str, Finding] = field(default_factory=dict)
    others: int = 0


@dataclass(slots=True)
class Integrity:
    """Collects findings and repairs; two readings of the same bytes give the same report on every machine.

    Attributes:
        findings: The faults, in the order in which they were met.
        checked: How many files or samples were checked, for the kinds of finding for which that number means something.
        selected: Numbers of samples before and after a `where` selection; None without one.
        samples, defective: Number of samples in the manifest, and of those that cannot be asked.
    """

    findings: list[Finding] = field(default_factory=list)
    checked: Counter[str] = field(default_factory=Counter)
    selected: tuple[int, int] | None = None
    samples: int = 0
    defective: int = 0
    _repairs: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, list[str]] = field(default_factory=dict)
    _classes: dict[str, _Class] = field(default_factory=dict)

    def find(self, kind: str, where: str, detail: str = "", *, image: str = "") -> None:
        """Add a finding of a kind of `FINDINGS`."""
        assert kind in FINDINGS, kind
        # Names of files and words of records may hold half a surrogate pair, which the report cannot.
        texts = [text.encode(errors="backslashreplace").decode() for text in (where, detail, image)]
        self.findings.append(Finding(kind, texts[0], texts[1], image=texts[2]))

    def compare(self, name: str, where: str, inverted: str, *, image: str = "") -> None:
        """Remember a mask until `conclude` can compare it with the others of its class.

        Args:
            name: The class; masks of one name are compared whatever dataset they come from.
            where: The mask's file.
            inverted: Why it seems inverted; empty if it does not.
            image: The image that it belongs to.
        """
        found = self._classes.setdefault(name, _Class())
        if inverted:
            found.inverted[where] = Finding("inverted_mask", where, inverted, image)
        else:
            found.others += 1

    def conclude(self) -> None:
        """Report the faults that show only once all files are read: inverted masks in a class whose others are not."""
        for name, found in self._classes.items():
            masks = len(found.inverted) + found.others
            if len(found.inverted) <= INVERTED_SHARE_MOST * masks:
                self.findings += found.inverted.values()
            else:
                share = f"{len(found.inverted)} of {masks}"
                words = f"{share} masks of {name or 'the release'} look inverted, too many to tell"
                self.find("not_checked", min(found.inverted), words)
        self._classes.clear()

    def repair(self, name: str, where: str) -> None:
        """Count a repair by rule under its name, and keep the first places as examples."""
        self._repairs[name] += 1
        examples = self._examples.setdefault(name, [])
        if len(examples) < EXAMPLES:
            examples.append(where)

    def count(self, sample: Sample) -> None:
        """Count a sample of the manifest, and report it if its options lack its answer or repeat one another."""
        self.samples += 1
        self.defective += sample.defect is not None
        problem = _options_problem(sample)
        if problem:
            self.find("answer_not_among_options", sample.id, problem)
        options = Counter(option.strip() for option in sample.choices)
        repeated = [repr(option) for option, count in options.items() if count > 1]
        if repeated:
            self.find("duplicate_option", sample.id, f"{', '.join(repeated)} more than once")

    @property
    def counts(self) -> dict[str, int]:
        """Number of findings per kind, most frequent first, and by name among equals."""
        counts = Counter(finding.kind for finding in self.findings)
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))

    def first(self, kind: str) -> list[Finding]:
        """Return the first `EXAMPLES` findings of a kind, in the order of the report; empty if there are none."""
        return nsmallest(EXAMPLES, (finding for finding in self.findings if finding.kind == kind))

    @property
    def repairs(self) -> dict[str, int]:
        """Number of repairs per name, by name."""
        return dict(sorted(self._repairs.items()))

    def to_json(self) -> dict[str, Json]:
        """Return the report as JSON values, with sorted findings and without times or absolute paths."""
        # Sorted, because readers may meet files in the order of a directory, which differs between machines.
        return {
            "schema": SCHEMA,
            "samples": self.samples,
            "cannot_be_asked": self.defective,
            "selected": None if self.selected is None else dict(zip(("before", "after"), self.selected, strict=True)),
            "counts": dict(sorted(self.counts.items())),
            "checked": dict(sorted(self.checked.items())),
            "findings": [finding.to_json() for finding in sorted(self.findings)],
            "repairs": {
                name: {"count": count, "examples": sorted(self._examples[name])} for name, count in self.repairs.items()
            },
        }

    @classmethod
    def from_json(cls, report: Mapping[str, Json]) -> "Integrity":
        """Return the report that `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: The report has another schema, or the JSON is not a report.
        """
        if report["schema"] != SCHEMA:
            raise ValueError(f"expected schema {SCHEMA}, found {report['schema']}")
        selected = report["selected"]
        return cls(
            findings=[Finding(**finding) for finding in report["findings"]],
            checked=Counter(report["checked"]),
            selected=None if selected is None else (selected["before"], selected["after"]),
            samples=report["samples"],
            defective=report["cannot_be_asked"],
            _repairs=Counter({name: repair["count"] for name, repair in report["repairs"].items()}),
            _examples={name: list(repair["examples"]) for name, repair in report["repairs"].items()},
        )

    @property
    def examples(self) -> Mapping[str, list[str]]:
        """The first places of each repair."""
        return self._examples

    def summary(self) -> str:
        """Return the report for a person: a line on the samples, then one per kind of finding and per repair."""
        lines = [f"{self.samples:,} samples, {self.defective:,} of them cannot be asked"]
        if self.selected is not None:
            lines.append(f"selected {self.selected[1]:,} of {self.selected[0]:,} by the task's `where`")
        for kind, count in self.counts.items():
            of = f" of {self.checked[kind]:,}" if kind in self.checked else ""
            first = self.first(kind)[0]
            example = f"{first.where}: {first.detail}" if first.detail else first.where
            lines.append(f"{kind}: {count:,}{of} ({FINDINGS[kind]}; e.g. {example})")
        lines += [
            f"repaired {name}: {count:,} (e.g. {self._examples[name][0]})" for name, count in self.repairs.items()
        ]
        return "\n".join(lines)


def _options_problem(sample: Sample) -> str:
    """Return why the options of a sample cannot hold its answer; an empty string if they can or the sample has none."""
    if not sample.choices:
        return ""
    choice, answers = sample.target.choice, sample.target.answers
    letters = ascii_uppercase[: len(sample.choices)]
    if choice is not None and choice not in tuple(letters):
        return f"the answer is {choice!r}, the options are A to {letters[-1]}"
    options = {folded(option) for option in sample.choices}
    if answers and not any(folded(answer) in options for answer in answers):
        return f"the answer is {answers[0]!r}, the options are {', '.join(map(repr, sample.choices))}"
    return ""


def folded(text: str) -> str:
    """Return a text as options and answers are compared: without letter case, blanks collapsed and trimmed."""
    return " ".join(text.casefold().split())
