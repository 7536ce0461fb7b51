"""The frozen records behind a task file."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from harness.imaging.windowing import Window
from harness.records import Json, RequestKind
from harness.records.codec import digest, to_json

Gives = Literal["text", "choice", "masks", "grounded_text", "boxes", "retrieval"]
Mean = Literal["micro", "macro", "pooled"]
GIVES: tuple[Gives, ...] = get_args(Gives)
MEANS: tuple[Mean, ...] = get_args(Mean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """Where a benchmark was published.

    Attributes:
        rows: Which rows or tables of the paper a task answers to.
    """

    name: str = ""
    venue: str = ""
    url: str = ""
    rows: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """A metric or reader that a task file brings along.

    Attributes:
        reference: `package.module:name` or `file.py:name`, as written.
        sha256: Digest of the Python file it comes from.
    """

    reference: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The part of a release that a task uses.

    Attributes:
        reader: Name of the reader.
        split: As the release calls it; `all` if it has none.
        subset: A named part of the release.
        where: Field -> admitted values; a sample is used if it has an admitted value in every field.
        options: Settings of the reader.
        samples: Number of samples of the real release; None if no source states it.
        plug_in: Set when the reader is the task's own.
    """

    reader: str
    split: str = "test"
    subset: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    samples: int | None = None
    plug_in: PlugIn | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """The prompts of a paper in its own words: data of its protocol, used with the real release only.

    Attributes:
        name: Name of its file without the suffix.
        prompt, open_prompt: They replace the task's own; an empty `open_prompt` leaves the task's as it is.
        source, licence: Where the words come from, and on what terms.
    """

    name: str
    prompt: str
    open_prompt: str = ""
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the data's licence allows; nothing unless the task says so."""

    redistribute: bool = False
    external_api: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricUse:
    """A metric under a protocol, as a task uses it.

    Attributes:
        metric: The table row's name.
        protocol: The table row's protocol.
        parameters: Settings of the row that differ from its defaults.
        plug_in: Set when the row is the task's own.
        rubric: What a judge is asked; empty for all metrics but `judge`.
        line: 1-based line of the task file that names it; 0 if no file does.
    """

    metric: str
    protocol: str = "standard"
    parameters: Mapping[str, Json] = field(default_factory=dict)
    plug_in: PlugIn | None = None
    rubric: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The one number that sums up the task.

    Attributes:
        over: The stratum key of the macro mean; with another mean, of a macro row beside it.
    """

    metric: str
    protocol: str = "standard"
    mean: Mean = "micro"
    over: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """One task file, checked, with what it includes.

    Attributes:
        dataset: First part of the sample ids; tasks over the same samples share it.
        version: Raised by any change that can move a score.
        continuation: Template of each candidate of an `nll` task; None otherwise.
        oracle: Template of a perfect model's reply; empty if the task does not ask for words.
        prompt: Template of the words a user would type; plain `{name}` placeholders only.
        open_prompt, open_oracle: As `prompt` and `oracle`, for samples without options in a task that gives a choice;
            empty if it has none.
        wording: The paper's words, used with the real release in place of `prompt` and `open_prompt`.
        fallbacks: Name -> frame, style or margin, by `harness.tasks.fallbacks`; the first of its kind counts.
        window: Which grey values become 0 and 255 if 8-bit pixels are made of deeper ones.
        file: The file that the task was read from; it is not part of the task's identity.
    """

    task: str
    dataset: str
    version: int
    title: str
    release: Release
    gives: Gives
    prompt: str
    metrics: tuple[MetricUse, ...]
    headline: Headline
    paper: Paper = field(default_factory=Paper)
    asks: RequestKind = "generate"
    continuation: str | None = None
    oracle: str = ""
    open_prompt: str = ""
    open_oracle: str = ""
    wording: Wording | None = None
    grammar: Literal["none", "mimo", "glamm", "mimo_or_glamm"] = "none"
    terms: Terms = field(default_factory=Terms)
    visual_prompt: Literal["none", "box", "points", "region", "from_sample"] = "none"
    decoding: Mapping[str, Json] = field(default_factory=dict)
    repeats: int = 1
    fallbacks: Mapping[str, str | float] = field(default_factory=dict)
    strata: tuple[str, ...] = ()
    cluster: Literal["patient", "study", "image"] = "image"
    window: Window | None = None
    file: Path = field(default=Path(), compare=False)

    @property
    def folder(self) -> Path:
        """The folder of the task's own metrics and readers."""
        return self.file.parent

    def asked_of(self, data: str) -> "TaskSpec":
        """Return the task with the prompts it uses: for `real` data those of its paper, if it names a wording."""
        # A paper's words are protocol data: phantoms are asked in our own.
        if self.wording is None or data != "real":
            return self
        return replace(self, prompt=self.wording.prompt, open_prompt=self.wording.open_prompt or self.open_prompt)

    def words_used(self, data: str) -> str | None:
        """Return the name of the wording that `asked_of` uses, `own` for the task's; None if it has only one."""
        if self.wording is None:
            return None
        return self.wording.name if data == "real" else "own"

    @property
    def digest(self) -> str:
        """The sha256 of the task's content.

        Its path, comments, order of keys and use of `include` do not count; the order of several fallbacks does.
        """
        metrics = tuple(replace(use, line=0) for use in self.metrics)
        content = to_json(replace(self, file=Path(), metrics=metrics))
        # JSON objects are digested with sorted keys, so an order that counts has to be a list.
        if len(self.fallbacks) > 1:
            content["fallbacks"] = [[name, value] for name, value in self.fallbacks.items()]
        return digest(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSpec:
    """A named set of tasks.

    Attributes:
        members: Task names in the order of the file.
        combine: `macro` adds the unweighted mean of the members' headlines; `none` only lists them.
    """

    name: str
    title: str
    members: tuple[str, ...]
    combine: Literal["none", "macro"] = "none"
