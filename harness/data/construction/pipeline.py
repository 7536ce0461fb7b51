"""What a pipeline is, and the walk of one source through its steps."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from harness.data.construction.records import Item, Question, Rejection, Reply, Source
from harness.data.releases.reader import Reader
from harness.records import Json

Unit = Literal["sources", "replies", "items"]
# Replies with words in them; all others are counted as rejected by the step that asked.
USABLE = ("ok", "truncated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a pipeline reads its sources from.

    Attributes:
        root: The data root that holds its release.
        cache: Folder for remembered digests.
        seed: Seed of the construction.
    """

    root: Path
    cache: Path
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A source that has been listed and not read: of all candidates `--limit` reads only some.

    Attributes:
        id: Id of its source.
        load: Returns the source; called at most once.
    """

    id: str
    load: Callable[[], Source]


@dataclass(slots=True)
class Draft:
    """One source on its way through the steps.

    Attributes:
        source: The source.
        items: The items so far that no step has rejected.
        replies: The usable replies so far, by name of the question.
        unusable: The other replies so far: failures, refusals and empty ones.
    """

    source: Source
    items: list[Item] = field(default_factory=list)
    replies: dict[str, Reply] = field(default_factory=dict)
    unusable: dict[str, Reply] = field(default_factory=dict)

    def reply(self, question: str) -> Reply:
        """Return the reply to a question, usable or not."""
        return self.replies.get(question) or self.unusable[question]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a `Read` step makes of a draft: `items` take the place of the draft's."""

    items: Sequence[Item] = ()
    rejections: Sequence[Rejection] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A step that rejects sources; the reason is its name.

    Attributes:
        name, about: For the funnel, the second in one sentence.
        begin: Returns a function from a source to what is wrong with it, empty if nothing. It is called for the sources
            in their order, so it may remember those before.
    """

    name: str
    about: str
    begin: Callable[[], Callable[[Source], str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A step that asks the model: its questions follow from the draft, so from the source and earlier replies alone."""

    name: str
    about: str
    build: Callable[[Draft], Iterable[Question]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A step that makes items: of replies, of templates, or of items and replies on them; a pure function."""

    name: str
    about: str
    apply: Callable[[Draft], Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A step that rejects items; the reason is its name.

    Attributes:
        name, about: For the funnel, the second in one sentence.
        begin: Returns a function from an item to what is wrong with it, empty if nothing. It is called for the items in
            the order of their sources, so it may remember those before.
    """

    name: str
    about: str
    begin: Callable[[], Callable[[Item], str]]


Step = Select | Ask | Read | Check


class ReleaseWriter(Protocol):
    """Writes a release in its layout, item by item, so that any number of items fits into memory."""

    def add(self, item: Item, split: str) -> str:
        """Write one item; return its place in the release, such as `M3D_VQA/M3D_VQA_train.csv[12]`."""
        ...

    def close(self) -> None:
        """Write what comes last; without any item the files of an empty release."""
        ...


# Puts a file of the data root into the release: takes its path below the root and, if it differs, that below the
# release. The same file may be asked for any number of times.
Link = Callable[..., None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseFolder:
    """Where a release is written.

    Attributes:
        path: Folder of the release, which is empty.
        inputs: What the sources were read from.
        link: Puts a file of the data root into the release.
    """

    path: Path
    inputs: Inputs
    link: Link


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """A reading of the finished release by our own reader, which must find no defect.

    Attributes:
        reader: Import path of the reader, `package.module:NAME`.
        splits: The splits that are read.
        subset: Of the reader.
        options: Of the reader.
    """

    reader: str
    splits: tuple[str, ...]
    subset: str | None = None
    options: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """One way to make a dataset.

    Attributes:
        name: Name on the command line.
        version: Raised by every change that can alter a release; prompts and templates have versions of their own.
        title: What it makes, in a few words.
        paper: Where it was published.
        reads: Reader of the release that its sources are in; the first data root with its folders is taken.
        sources: Lists the candidates in a fixed order.
        steps: In order.
        shares: Share of the clusters in each split; sources that have a split keep it.
        writer: Returns the writer of the release.
        read_back: The readings that the finished release must pass.
        data: Content of all its data files (prompts, templates, lexicons) by name, for the digest of the run.
        licences: Licence of each collection by `Source.origin`; `*` for any other.
        not_reproduced: What of the paper's pipeline is not reproduced, and why; for the card.
    """

    name: str
    version: int
    title: str
    paper: str
    reads: Reader
    sources: Callable[[Inputs], Iterator[Candidate]]
    steps: tuple[Step, ...]
    shares: Mapping[str, float]
    writer: Callable[[ReleaseFolder], ReleaseWriter]
    read_back: tuple[ReadBack, ...] = ()
    data: Mapping[str, str] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    not_reproduced: tuple[str, ...] = ()

    @property
    def asks(self) -> tuple[Ask, ...]:
        """The steps that ask the model, in order: each is one round."""
        return tuple(step for step in self.steps if isinstance(step, Ask))


@dataclass(slots=True)
class StepCount:
    """What came into a step and what it turned away.

    Attributes:
        name, about: Of the step.
        unit: What it counts.
        taken: Number that came in.
        made: Number that went out.
        rejected: Number by reason.
    """

    name: str
    about: str
    unit: Unit
    taken: int = 0
    made: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


# Returns the reply to a question on a source; None if it has not been asked yet.
FindReply = Callable[[Source, Question], Reply | None]


class Walk:
    """One pass over the sources, in their order: it counts, and remembers what the steps remember.

    Args:
        pipeline: The steps.
        find: Finds stored replies.
        rejected: Called with the name of the step, the draft and the rejection; None for a pass that only asks.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        find: FindReply,
        rejected: Callable[[str, Draft, Rejection], None] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.find = find
        self.rejected = rejected or (lambda *_: None)
        self.counts = [StepCount(step.name, step.about, _unit(step)) for step in pipeline.steps]
        # One memory per step and pass: every pass meets the same sources in the same order, so it remembers the same.
        self._faults: list[Callable[..., str] | None] = [
            step.begin() if isinstance(step, Select | Check) else None for step in pipeline.steps
        ]

    def questions(self, source: Source, ask: Ask) -> list[Question]:
        """Return what the step asks about a source, whether or not it has been asked; nothing for a rejected source."""
        draft = self._until(source, ask)
        return [] if draft is None else list(ask.build(draft))

    def items(self, source: Source) -> tuple[list[Item], Mapping[str, Reply]]:
        """Return the items of a source that every step leaves, with the usable replies; all replies must be there."""
        draft = self._until(source, None)
        return ([], {}) if draft is None else (draft.items, draft.replies)

    def _until(self, source: Source, ask: Ask | None) -> Draft | None:
        """Take a source through the steps before `ask`; None if one of them rejects it."""
        draft = Draft(source=source)
        for place, (step, count, fault) in enumerate(zip(self.pipeline.steps, self.counts, self._faults, strict=True)):
            if step is ask:
                break
            if isinstance(step, Select):
                assert fault is not None
                count.taken += 1
                if detail := fault(source):
                    self._reject(count, draft, Rejection(reason=step.name, detail=detail))
                    return None
                count.made += 1
            elif isinstance(step, Ask):
                self._take_replies(step, count, draft)
            elif isinstance(step, Read):
                outcome = step.apply(draft)
                for rejection in outcome.rejections:
                    self._reject(count, draft, rejection)
                count.taken += len(outcome.items) + len(outcome.rejections)
                count.made += len(outcome.items)
                draft.items = list(outcome.items)
            elif place == 0 or not isinstance(self.pipeline.steps[place - 1], Check):
                # All checks in a row at the first of them, item by item: what they know of an item is found once.
                draft.items = [item for item in draft.items if self._passes(place, draft, item)]
        return draft

    def _passes(self, place: int, draft: Draft, item: Item) -> bool:
        """Say whether an item passes the checks in a row that begin at `place`; the first that it fails counts it."""
        for step, count, fault in zip(
            self.pipeline.steps[place:], self.counts[place:], self._faults[place:], strict=True
        ):
            if not isinstance(step, Check):
                break
            assert fault is not None
            count.taken += 1
            if detail := fault(item):
                self._reject(count, draft, Rejection(reason=step.name, detail=detail, item=item))
                return False
            count.made += 1
        return True

    def _take_replies(self, step: Ask, count: StepCount, draft: Draft) -> None:
        for question in step.build(draft):
            reply = self.find(draft.source, question)
            if reply is None:
                raise AssertionError(f"{draft.source.id}: {question.name} of step {step.name} was not asked")
            count.taken += 1
            if reply.status in USABLE and reply.text.strip():
                draft.replies[question.name] = reply
                count.made += 1
                continue
            draft.unusable[question.name] = reply  # the line of what is rejected holds it
            reason = reply.status if reply.status not in USABLE else "empty"
            rejection = Rejection(reason=reason, detail=reply.error, replies=(question.name,))
            self._reject(count, draft, rejection)

    def _reject(self, count: StepCount, draft: Draft, rejection: Rejection) -> None:
        count.rejected[rejection.reason] += 1
        self.rejected(count.name, draft, rejection)


def _unit(step: Step) -> Unit:
    if isinstance(step, Select):
        return "sources"
    return "replies" if isinstance(step, Ask) else "items"


def checked_by(name: str, about: str, fault: Callable[[Item], str]) -> Check:
    """Return a check that remembers nothing: `fault` says what is wrong with an item, empty if nothing."""
    return Check(name=name, about=about, begin=lambda: fault)


def selected_by(name: str, about: str, fault: Callable[[Source], str]) -> Select:
    """Return a selection that remembers nothing: `fault` says what is wrong with a source, empty if nothing."""
    return Select(name=name, about=about, begin=lambda: fault)
