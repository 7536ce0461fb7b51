"""Construction of a dataset: a model is asked by the steps of a pipeline, and what it replies becomes a release.

The run directory `DIR/run` is one like any other: the same engine asks, the same store keeps each reply before it
counts, and the same command goes on after a kill. Beside it are made, anew each time and from inputs and replies alone:

    release/         the dataset in its authors' layout
    pedigree.jsonl   one line per record of the release: the inputs' digests, the prompts, the model, the raw replies
    rejected.jsonl   one line per source, reply or item that was turned away, with step, reason and pedigree
    split.json       the split of each patient
    funnel.json      what came into each step and what left it, by reason; funnel.html draws it
    card.md          the dataset card
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.data.construction.listing import write_sources
from harness.data.construction.outputs.assembly import Assembly, write_outputs
from harness.data.construction.pipeline import Ask as AskStep
from harness.data.construction.pipeline import Inputs, Pipeline, Walk
from harness.data.construction.records import Question, Source
from harness.data.construction.registry import find_pipeline
from harness.data.roots import DataRoots, data_roots
from harness.errors import SpecError
from harness.evaluation.constructing.model import LanguageModel, build_model
from harness.evaluation.judging.judge_model import named_as_judge
from harness.evaluation.setup import (
    DEFAULT_BATCH,
    DEFAULT_TIMEOUT,
    Observer,
    RunSpec,
    choose_runner,
)
from harness.models.secrets import secrets_of
from harness.paths import default_cache
from harness.records import FAULTS, Json, Request
from harness.records.codec import canonical, digest, sha256_file
from harness.reports.construction.card import write_card
from harness.requests.key import request_key
from harness.runs import plan_file
from harness.runs.engine.cluster import run_on_ray
from harness.runs.engine.devices import device_of, gpus_here
from harness.runs.engine.in_process import run_in_process
from harness.runs.engine.progress import ReplyProgress
from harness.runs.engine.ray_connection import ClusterOptions
from harness.runs.engine.suspects import find_suspects
from harness.runs.engine.worker import WorkerSetup
from harness.runs.judgements import attempt_key
from harness.runs.performance import performance_of
from harness.runs.plan_file import Ask
from harness.runs.provenance import session_record
from harness.runs.rounds import (
    SOURCES,
    StoredReplies,
    last_attempt,
    read_round,
    read_sources,
    write_inputs,
    write_round,
)
from harness.runs.store import RunStore

RUN = "run"
LABELS = "labels.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstructSpec:
    """One construction, as the command line states it.

    Attributes:
        pipeline: Name of the pipeline.
        out: The folder.
        llm, llm_args: Reference of the model and its arguments; None for a pipeline that asks nothing.
        data_roots: Folders with releases, or `phantom[:SEED]`.
        limit: Sources that are taken; None for all.
        seed: Seed of the choice, of the split and of whatever templates are chosen.
        workers: Copies of the model; None: one per GPU, else 1.
        send_data_to: Hosts that may get the data.
        timeout: Seconds per question.
        retry_failed: Ask again what has failed.
        copy_media: Copy images into the release in place of links to them.
        read_back: Read the finished release by our own readers.
        cache: Folder of remembered digests.
    """

    pipeline: str
    out: Path
    llm: str | None
    llm_args: Mapping[str, Json] = field(default_factory=dict)
    data_roots: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    workers: int | None = None
    send_data_to: tuple[str, ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    retry_failed: bool = False
    copy_media: bool = False
    read_back: bool = True
    cache: Path = field(default_factory=default_cache)


@dataclass(frozen=True, slots=True, kw_only=True)
class Constructed:
    """The outcome of a construction.

    Attributes:
        out: Its folder.
        asked: Questions that were asked now.
        funnel: The content of `funnel.json`.
        defects: What our own readers found in the release, one line each.
    """

    out: Path
    asked: int
    funnel: Mapping[str, Any]
    defects: tuple[str, ...] = ()


def construct(spec: ConstructSpec, watch: Observer | None = None, *, command: Sequence[str] = ()) -> Constructed:
    """Ask what is missing, and write the release.

    Args:
        spec: The construction.
        watch: Receives news and progress; None for nobody.
        command: Words of the command line, for the record of the session.
    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watch = watch or Observer()
    pipeline = find_pipeline(spec.pipeline)
    roots = data_roots(spec.data_roots, spec.cache)
    if spec.limit is not None and spec.limit < 1:
        raise SpecError(f"--limit {spec.limit}: expected a whole number of at least 1")
    with named_as_judge(spec.llm_args, "--llm"):
        model = build_model(
            spec.llm, spec.llm_args, pipeline, data=roots.kind, send_data_to=spec.send_data_to, cache=spec.cache
        )
        root = pipeline.reads.find_root(roots.of(pipeline.reads.name)).resolve()
        inputs = Inputs(root=root, cache=spec.cache, seed=spec.seed)
        if spec.out.is_dir() and any(spec.out.iterdir()) and not (spec.out / RUN).is_dir():
            raise SpecError(f"--out {spec.out}: holds other files and no construction; name an empty or a new folder")
        store = RunStore(spec.out / RUN, secrets=() if model is None else secrets_of(model.reference.arguments))
        spec.out.mkdir(parents=True, exist_ok=True)
        temporary = spec.out / f".sources-{os.getpid()}.tmp"
        try:
            listed, taken = write_sources(pipeline, inputs, temporary, limit=spec.limit, seed=spec.seed)
            record = _record(spec, pipeline, roots, model, temporary)
            store.open(record)
            for repair in store.repairs:
                watch.notice(repair)
            temporary.replace(store.path / SOURCES)
            write_inputs(store.path, spec.data_roots, copy_media=spec.copy_media, read_back=spec.read_back)
            asked = 0
            if model is not None and pipeline.asks:
                asked = _Asking(spec, pipeline, model, inputs, store, watch).run(command)
            assembly = Assembly(
                pipeline=pipeline,
                inputs=inputs,
                out=spec.out,
                record=record,
                listed=listed,
                taken=taken,
                model=None if model is None else str(model.identity["id"]),
                model_digest=None if model is None else digest(model.identity),
                copies=spec.copy_media,
                labels=spec.out / LABELS,
            )
            funnel, defects = assemble(assembly, store, cache=spec.cache, read_back=spec.read_back)
            return Constructed(out=spec.out, asked=asked, funnel=funnel, defects=defects)
        finally:
            store.close()
            temporary.unlink(missing_ok=True)


def assemble(
    assembly: Assembly, store: RunStore, *, cache: Path, read_back: bool
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Write everything but the run directory; return the funnel, and what our own readers find wrong.

    Raises:
        HarnessError: The labels of people cannot be read, the disk refuses what is written, or a reader fails.
    """
    funnel = write_outputs(
        assembly, lambda: read_sources(store.path), lambda: StoredReplies(store, assembly.pipeline).find
    )
    return funnel, write_card(assembly, funnel, cache=cache, read_back=read_back)


def _record(
    spec: ConstructSpec, pipeline: Pipeline, roots: DataRoots, model: LanguageModel | None, sources: Path
) -> dict[str, Json]:
    """Return the content of `run.json`: what must not change while a construction is resumed."""
    return {
        "schema": 1,
        "construct": {"pipeline": pipeline.name, "version": pipeline.version, "data": digest(dict(pipeline.data))},
        "model": None if model is None else model.identity,
        "data": roots.kind,
        "sources": sha256_file(sources),
        "seed": spec.seed,
        "limit": spec.limit,
    }


@dataclass(slots=True)
class _Asking:
    """The rounds of one construction.

    Attributes:
        seen: Keys of all rounds so far.
        planned: Numbers of the rounds whose plan is written.
    """

    spec: ConstructSpec
    pipeline: Pipeline
    model: LanguageModel
    inputs: Inputs
    store: RunStore
    watch: Observer
    seen: set[bytes] = field(default_factory=set)
    planned: set[int] = field(default_factory=set)

    def run(self, command: Sequence[str]) -> int:
        """Ask everything that is missing, round by round; return the number of requests that were finished now."""
        store, capabilities = self.store, self.model.capabilities
        before = len(store.offsets)
        progress = ReplyProgress(
            store=store,
            total=0,
            counts=Counter(store.statuses),
            watch=self.watch.progress,
            who="model",
            what="the construction",
            remedy="Once the model answers, the same command with --retry-failed asks them again, and goes on.",
        )
        rounds = list(enumerate(self.pipeline.asks))
        while rounds:
            self._plan(*rounds[0])
            if next(self._batches(*rounds[0]), None) is not None:
                break
            rounds.pop(0)
        if rounds:  # a model that has nothing left to say is not even loaded
            runner = choose_runner(
                RunSpec(tasks=(), model=self.model.reference.text, workers=self.spec.workers), capabilities.resources
            )
            store.add_session(session_record(command, gpus=gpus_here(), secrets=store.secrets))
            progress.total = self._total(progress)
            setup = WorkerSetup(
                reference=self.model.reference,
                roots=(self.inputs.root,),
                device=device_of(runner.wanted.resources),
                threads=max(1, int(capabilities.resources.cpus)),
                folder=store.directory.model_folder.resolve(),
                timeout=self.spec.timeout,
            )
            store.event("session", runner="process" if runner.address is None else "ray", done=progress.done)
            state = "interrupted"
            try:
                if runner.address is None:
                    # One engine for all rounds, so that the model is loaded once.
                    suspects = find_suspects(store.directory.read_events())
                    run_in_process(
                        setup,
                        self._all_batches(rounds, progress),
                        progress,
                        suspects,
                        timeout=self.spec.timeout,
                        batch_invariant=capabilities.batch_invariant,
                    )
                else:
                    options = ClusterOptions(
                        address=runner.address,
                        wanted=runner.wanted,
                        timeout=self.spec.timeout,
                        failures=1 << 62,  # what fails is rejected and counted; a model that only fails stops earlier
                        log=store.directory.ray_log_path,
                        batch_invariant=capabilities.batch_invariant,
                    )
                    for one in rounds:
                        run_on_ray(setup, self._all_batches([one], progress), progress, options)
                state = "done"
            finally:
                store.event("stopped", state=state, done=progress.done)
                store.status(progress.status(state), at_once=True)
        store.write_performance(performance_of(store.directory))
        return len(store.offsets) - before

    def _total(self, progress: ReplyProgress) -> int:
        """Return the number of requests of all planned rounds, further attempts included."""
        planned = sum(key in self.store.offsets for key in self.seen)
        return len(self.seen) + max(0, progress.done - planned)

    def _plan(self, number: int, ask: AskStep) -> None:
        """Write the plan of a round; the replies to the rounds before are stored by now."""
        walk = Walk(self.pipeline, StoredReplies(self.store, self.pipeline).find)

        def questions() -> Iterator[tuple[Source, Question, Request]]:
            for source in read_sources(self.store.path):
                for question in walk.questions(source, ask):
                    yield source, question, self._request(source, question)

        write_round(self.store, number, ask, questions(), self.seen)
        self.planned.add(number)

    def _request(self, source: Source, question: Question) -> Request:
        request = Request(messages=question.messages, decoding=question.decoding, seed=self.spec.seed)
        if self.model.capabilities.per_sample:
            request = replace(request, sample_id=f"{source.id}/{question.name}")
        whole = {"llm": self.model.identity, "prompt": [question.prompt, question.version]}
        return replace(request, key=request_key(request, whole))

    def _all_batches(self, rounds: Sequence[tuple[int, AskStep]], progress: ReplyProgress) -> Iterator[list[Ask]]:
        for place, (number, ask) in enumerate(rounds):
            if place:
                yield []  # a batch is read before the last one is stored, but for this: a plan needs all replies
            if number not in self.planned:
                self._plan(number, ask)
            progress.total = self._total(progress)
            for batch in self._batches(number, ask):
                progress.total = max(progress.total, progress.done + len(batch))
                yield batch

    def _batches(self, number: int, ask: AskStep) -> Iterator[list[Ask]]:
        capabilities = self.model.capabilities
        size = capabilities.usual_batch or min(DEFAULT_BATCH, capabilities.max_batch)

        def whole() -> Iterator[list[Ask]]:
            batch: list[Ask] = []
            for asked in read_round(self.store, number, ask):
                batch.append(self._attempt(asked))
                if len(batch) == size:
                    yield batch
                    batch = []
            if batch:
                yield batch

        yield from plan_file.due(whole(), self.store.is_done, batch_invariant=capabilities.batch_invariant, size=size)

    def _attempt(self, ask: Ask) -> Ask:
        """Return the request, or a further attempt at it if the last has failed and failures are asked again."""
        if not self.spec.retry_failed or not self.store.is_done(ask.key):
            return ask
        last, number = last_attempt(self.store, ask.key)
        prediction = self.store.prediction(last)
        if prediction is None or prediction.status not in FAULTS:
            return ask
        key = attempt_key(ask.key, number + 1, 0)
        request = json.loads(ask.request)
        return Ask(key, canonical({**request, "key": key}), ask.sample_id)
