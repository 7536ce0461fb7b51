"""A proposed task, and its YAML."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.records import Json

# Words that YAML 1.2 or a reader of older YAML takes for something other than text.
_NOT_TEXT = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user has decided on the command line; None or empty where the files decide.

    Attributes:
        name: The task.
        labels: Name -> values in the masks.
        images, masks: Patterns of paths below the folder.
        split: The split to evaluate.
        modality: Modality code.
        cache: The cache folder, which must not lie below a data root.
    """

    name: str | None = None
    labels: Mapping[str, Sequence[int]] = field(default_factory=dict)
    images: str | None = None
    masks: str | None = None
    split: str | None = None
    modality: str | None = None
    cache: Path | None = None

    def root_of(self, folder: Path) -> tuple[Path, str]:
        """Return the data root of a release's folder, and the folder below it: its parent, unless that holds the cache.

        Nothing may be written below a data root, and folders in a person's home have the cache beside them.
        """
        if self.cache is not None and self.cache.resolve().is_relative_to(folder.parent):
            return folder, "."
        return folder.parent, folder.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A task that is proposed for a folder or table.

    Attributes:
        name: Of the task and of its file.
        title: What a reader sees.
        data_root: Folder below which the release lies.
        reader, split: Of the release.
        options: Of the reader.
        gives: `masks`, `choice` or `text`.
        prompt: The question as a user would type it.
        oracle: The ideal reply.
        metrics: As in a task file.
        headline: As in a task file.
        strata: Keys to break results down by.
        cluster: `patient` or `image`.
        where: Selection of samples.
        dataset: First part of the ids; empty: the name.
        model: A baseline that gives a first number.
        seen: What was found, one line each.
        taken: How it is read, one line each.
        open: What the user must decide, one line each; the file has comments on it, too.
        remarks: Option -> lines of the comment above it.
        window: Whether images may have more than 8 bits.
    """

    name: str
    title: str
    data_root: Path
    reader: str
    split: str
    options: Mapping[str, Json]
    gives: str
    prompt: str
    oracle: str
    metrics: Sequence[Mapping[str, Json]]
    headline: Mapping[str, Json]
    strata: Sequence[str]
    cluster: str = "image"
    where: Mapping[str, Json] = field(default_factory=dict)
    dataset: str = ""
    model: str = "baseline:otsu"
    seen: Sequence[str] = ()
    taken: Sequence[str] = ()
    open: Sequence[str] = ()
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)
    window: bool = True

    def to_yaml(self) -> str:
        """Return the task file."""
        lines = [f"task: {flow(self.name)}"]
        if self.dataset:
            lines.append(f"dataset: {flow(self.dataset)}")
        lines += ["version: 1", f"title: {flow(self.title)}", "release:"]
        lines += [f"  reader: {flow(self.reader)}", f"  split: {flow(self.split)}"]
        if self.where:
            lines.append(f"  where: {flow(dict(self.where))}")
        lines.append("  options:")
        for key, value in self.options.items():
            lines += [f"    # {remark}" for remark in self.remarks.get(key, ())]
            lines.append(f"    {key}: {flow(value)}")
        # Options that are only named in a comment come last, so that the user can turn the comment into a line.
        lines += [f"    # {remark}" for key in self.remarks if key not in self.options for remark in self.remarks[key]]
        lines += [f"gives: {self.gives}", f"oracle: {json.dumps(self.oracle)}"]
        lines.append("# What the licence of the data allows; with false no image leaves this machine or enters a page.")
        lines.append("terms: {redistribute: false, external_api: false}")
        lines.append(f"prompt: {json.dumps(self.prompt, ensure_ascii=False)}")
        lines.append("metrics:")
        lines += [f"  - {flow(dict(metric))}" for metric in self.metrics]
        lines += [f"headline: {flow(dict(self.headline))}", f"strata: {flow(list(self.strata))}"]
        lines.append(f"cluster: {self.cluster}")
        if self.window:
            lines.append("window: {percentiles: [0.5, 99.5]}")
        return "\n".join(lines) + "\n"


def flow(value: Json) -> str:
    """Return a value as YAML on one line; text is quoted where it could be read as something else."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)


def task_name(text: str) -> str:
    """Return a text as the name of a task: letters, digits, `_`, `-` and `.`."""
    name = re.sub(r"[^a-z0-9_.-]+", "_", text.lower()).strip("_.-")
    # A file `groups.yaml` defines groups of tasks, in any folder.
    return {"": "my_task", "groups": "my_groups"}.get(name, name)


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


_VOLUME_METRICS: tuple[Mapping[str, Json], ...] = (
    {"metric": "dice"},
    {"metric": "nsd", "params": {"tolerance_mm": 2}},
    {"metric": "hd95"},
    {"metric": "no_target_accuracy"},
)
_IMAGE_METRICS: tuple[Mapping[str, Json], ...] = (
    {"metric": "dice"},
    {"metric": "iou"},
    {"metric": "no_target_accuracy"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskTask:
    """What distinguishes a task over images or volumes with masks from others of its kind.

    Attributes:
        subject: What the masks are of, for the title.
        volumes: Whether they are of volumes.
        labels: Number of labels; None if it is not known before the pixels are read.
        by_patient: Whether samples of one patient form a cluster.
        reader, split, options, data_root, seen, taken, open, remarks: As in `Draft`.
    """

    subject: str
    data_root: Path
    reader: str
    split: str
    options: Mapping[str, Json]
    volumes: bool
    labels: int | None
    by_patient: bool
    seen: Sequence[str]
    taken: Sequence[str]
    open: Sequence[str] = ()
    remarks: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def draft(self, folder: Path, choices: Choices) -> Draft:
        """Return the task over a folder. Over several labels each counts alike in the headline."""
        macro: Mapping[str, Json] = {} if self.labels == 1 else {"mean": "macro", "over": "class"}
        return Draft(
            name=choices.name or task_name(folder.name),
            title=f"Segmentation of {self.subject}",
            data_root=self.data_root,
            reader=self.reader,
            split=self.split,
            options=self.options,
            gives="masks",
            prompt=f"Outline the {{class}} in this {'volume' if self.volumes else 'image'} with a mask.",
            oracle="<SEG>",
            metrics=_VOLUME_METRICS if self.volumes else _IMAGE_METRICS,
            headline={"metric": "dice", **macro},
            strata=("class", "target_size", "presence"),
            cluster="patient" if self.by_patient else "image",
            seen=self.seen,
            taken=self.taken,
            open=self.open,
            remarks=self.remarks,
        )
