"""Judging a run: a model is asked by a rubric what the run's answers are worth, and the run is scored again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import InterruptedRunError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.judging.answers import AnswersToJudge, judged_tasks
from harness.evaluation.judging.judge_model import JudgeModel, build_judge, image_roots, named_as_judge
from harness.evaluation.judging.judge_requests import Asking, Questions, write_samples
from harness.evaluation.judging.panels import Panel, add_panel
from harness.evaluation.judging.prompts import PROMPT_VERSION
from harness.evaluation.judging.rubrics import Rubric, find_rubric
from harness.evaluation.outputs import Evaluation, find_report_images
from harness.evaluation.rescore import rescore
from harness.evaluation.setup import DEFAULT_BATCH, DEFAULT_TIMEOUT, Observer, RunSpec, choose_runner
from harness.models.description import undescribed
from harness.models.secrets import secrets_of
from harness.paths import default_cache
from harness.records import Json, Judgement
from harness.records.codec import digest
from harness.reports.examples import ReportImages
from harness.runs.directory import RunDirectory
from harness.runs.engine.devices import device_of, gpus_here
from harness.runs.engine.in_process import run_in_process
from harness.runs.engine.progress import ReplyProgress
from harness.runs.engine.suspects import find_suspects
from harness.runs.engine.worker import WorkerSetup, load_seconds
from harness.runs.judgements import FOLDER, JudgeFolder
from harness.runs.performance import performance_of
from harness.runs.provenance import session_record
from harness.runs.store import RunStore
from harness.tasks.catalog import index, look_up
from harness.tasks.spec import TaskSpec

DEFAULT_RUBRIC = "correctness"
PAIRWISE_RUBRIC = "pairwise"
# Digits of a folder's digest in its name.
DIGEST_SHOWN = 8
EXAMPLES_KEPT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSpec:
    """What is judged, by whom and how, as the command line states it.

    Attributes:
        run: The run directory.
        against: For a pairwise rubric, the run whose answers are compared with those of `run`; else None.
        judges: References of the judges with their arguments.
        rubric: Name or file of the rubric; None: what the tasks list, else `correctness`; for two runs `pairwise`.
        repeats: How often each answer is judged.
        panel: How several judges are joined, `mean` or `majority`.
        quorum: Judges that must have judged an answer for the panel to count; None: more than half of them.
        retry_unjudged: Ask again what is stored as unjudged.
        send_data_to: Hosts that may get the data of tasks whose terms do not allow it to everyone.
        task_paths: Folders with further task files and rubrics.
        data_roots: Folders of the images, or `phantom[:SEED]`, for a rubric that shows them.
        timeout: Seconds per answer.
        cache: Folder of remembered digests.
        images: Which images the report of the run shows; None: outlines on a plain ground.
    """

    run: Path
    judges: tuple[tuple[str, Mapping[str, Json]], ...]
    against: Path | None = None
    rubric: str | None = None
    repeats: int = 1
    panel: str = "mean"
    quorum: int | None = None
    retry_unjudged: bool = False
    send_data_to: tuple[str, ...] = ()
    task_paths: tuple[Path, ...] = ()
    data_roots: tuple[str, ...] = ()
    timeout: float = DEFAULT_TIMEOUT
    cache: Path = field(default_factory=default_cache)
    images: ReportImages | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """The outcome of judging.

    Attributes:
        evaluation: The run, scored again.
        folders: Where the judgements are, one folder per judge.
        asked: Requests that were made now, by judge.
        judged, unjudged: Number of judgements by status, those that stand without a judge included.
        examples: The first judgements that are unjudged.
    """

    evaluation: Evaluation
    folders: tuple[JudgeFolder, ...]
    asked: Mapping[str, int]
    judged: int
    unjudged: int
    examples: tuple[Judgement, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 if there is something to judge and no judgement."""
        return 3 if self.unjudged and not self.judged else 0


def judge(spec: JudgeSpec, watch: Observer | None = None, *, command: Sequence[str] = ()) -> Judged:
    """Ask judges what is missing of their judgements of a run, and score the run again.

    Args:
        spec: What is judged and by whom.
        watch: Receives news and progress; None for nobody.
        command: Words of the command line, for the record of the session.
    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watch = watch or Observer()
    directory = RunDirectory(spec.run)
    run = directory.read_run()
    if not directory.results_path.is_file():
        raise SpecError(
            f"{spec.run}: has no results.json, so the run is not finished; finish it with the same `harness run` "
            "command, then judge it"
        )
    other = None if spec.against is None else RunDirectory(spec.against)
    against = None if other is None else _against(directory, other)
    if spec.repeats < 1:
        raise SpecError(f"--repeats {spec.repeats}: expected a whole number of at least 1")
    tasks, _ = index(spec.task_paths, stored=directory.tasks_folder).resolve(run["requested"])
    cells, _ = directory.read_cells()
    supported = [name for name, cell in cells.items() if cell.unsupported is None]
    chosen = _rubrics(spec, judged_tasks(spec.run, tasks, supported))
    panels = [Panel.of(spec.panel, spec.quorum, rubric, len(spec.judges)) for rubric, _ in chosen]
    judges = [
        [
            build_judge(text, arguments, rubric, judged, send_data_to=spec.send_data_to, cache=spec.cache)
            for text, arguments in spec.judges
        ]
        for rubric, judged in chosen
    ]
    folders: list[JudgeFolder] = []
    asked = Counter[str]()
    # Everything is checked by now: no judge is paid before the last one is known to be there.
    for (rubric, judged), panel, ours in zip(chosen, panels, judges, strict=True):
        if len({digest(one.identity) for one in ours}) < len(ours):
            raise SpecError(
                "--judge: expected different judges, found the same one twice; --repeats N asks one several times"
            )
        answers = AnswersToJudge(directory, judged, other, with_images=rubric.shows == "images")
        own: list[JudgeFolder] = []
        try:
            for one in ours:
                questions = Questions(
                    answers=answers,
                    rubric=rubric,
                    identity=one.identity,
                    seed=int(run["seed"]),
                    repeats=spec.repeats,
                    roots=image_roots(rubric, spec.run, spec.data_roots, spec.task_paths, spec.cache, watch),
                    per_sample=one.capabilities.per_sample,
                )
                record: dict[str, Json] = {
                    "schema": 1,
                    "judge": one.identity,
                    "rubric": rubric.record(),
                    "prompt_version": PROMPT_VERSION,
                    **({} if against is None else {"against": against}),
                }
                folder = JudgeFolder(_folder(directory, record))
                with named_as_judge(one.reference.arguments):
                    asked[str(one.identity["id"])] += _ask(spec, one, questions, folder, record, watch, command)
                own.append(folder)
        finally:
            answers.close()
        if len(own) > 1:
            add_panel(directory.path, replace(panel, members=tuple(folder.protocol for folder in own)))
        folders += own
    evaluation = rescore(spec.run, task_paths=spec.task_paths, protocols=(), max_failures="100%", images=spec.images)
    counts = Counter[str]()
    examples: list[Judgement] = []
    for folder in folders:
        for judgement in folder.judgements():
            counts[judgement.status] += 1
            if judgement.status == "unjudged" and len(examples) < EXAMPLES_KEPT:
                examples.append(judgement)
    return Judged(
        evaluation=evaluation,
        folders=tuple(folders),
        asked=dict(asked),
        judged=counts["ok"],
        unjudged=counts["unjudged"],
        examples=tuple(examples),
    )


def evaluate_and_judge(
    run: RunSpec,
    judges: Sequence[tuple[str, Mapping[str, Json]]],
    watch: Observer | None = None,
    *,
    command: Sequence[str] = (),
) -> Judged:
    """Run an evaluation, then judge it by the rubrics that its tasks list, else by `correctness`.

    Args:
        run: The evaluation.
        judges: References of the judges with their arguments.
        watch: Receives news and progress; None for nobody.
        command: Words of the command line, for the record of the sessions.
    Raises:
        HarnessError: As `evaluate` and `judge`; a judge that cannot be asked is found before the model is.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    spec = JudgeSpec(
        run=Path("--judge"),  # begins the messages about a run that is still to be made
        judges=tuple(judges),
        send_data_to=run.send_data_to,
        task_paths=run.task_paths,
        data_roots=run.data_roots,
        timeout=run.timeout,
        cache=run.cache,
    )
    check_judges(spec, run.tasks)
    done = evaluate(run, watch, command=command)
    images = find_report_images(
        done.out,
        run.data_roots,
        with_images=False,
        task_paths=run.task_paths,
        cache=run.cache,
        watch=watch or Observer(),
    )
    judged = judge(replace(spec, run=done.out, images=images), watch, command=command)
    # Failures and problems are those of the run itself; the judges add numbers.
    return replace(judged, evaluation=replace(done, results=judged.evaluation.results))


def check_judges(spec: JudgeSpec, names: Sequence[str]) -> None:
    """Check what can be known of the judges of a run before its model is asked, which may take hours.

    Args:
        spec: What is to be judged once the run is finished.
        names: Tasks and groups of the run.
    Raises:
        HarnessError: A judge or rubric does not exist, or the terms of a task forbid it.
    """
    catalog, known = look_up(names, spec.task_paths)
    tasks, _ = catalog.resolve(known)
    for rubric, judged in _rubrics(spec, judged_tasks(spec.run, tasks, [task.task for task in tasks])):
        Panel.of(spec.panel, spec.quorum, rubric, len(spec.judges))
        for text, arguments in spec.judges:
            build_judge(text, arguments, rubric, judged, send_data_to=spec.send_data_to, cache=spec.cache)


def _rubrics(spec: JudgeSpec, tasks: Sequence[TaskSpec]) -> list[tuple[Rubric, list[TaskSpec]]]:
    """Return the rubrics with the tasks that are judged by each.

    Without `--rubric` a task is judged by those that it lists; where no task lists any, all by `correctness`.
    """
    if spec.rubric is not None or spec.against is not None:
        names = {spec.rubric or PAIRWISE_RUBRIC: list(tasks)}
    else:
        names = {}
        for task in tasks:
            for name in (use.rubric for use in task.metrics if use.rubric):
                names.setdefault(name, []).append(task)
        names = names or {DEFAULT_RUBRIC: list(tasks)}
    found = []
    for name, judged in names.items():
        rubric = find_rubric(name, spec.task_paths)
        if rubric.is_pairwise and spec.against is None:
            raise SpecError(f"--rubric {name}: compares the answers of two runs; expected RUN_DIR RUN_DIR, found one")
        if not rubric.is_pairwise and spec.against is not None:
            raise SpecError(f"--rubric {name}: judges one run at a time, found two; --rubric pairwise compares two")
        found.append((rubric, judged))
    return found


def _against(run: RunDirectory, other: RunDirectory) -> dict[str, Json]:
    """Return what identifies the other run of a pair.

    Raises:
        SpecError: It is the same run, or one over other data.
    """
    own, theirs = run.read_run(), other.read_run()
    if run.path.resolve() == other.path.resolve():
        raise SpecError(f"{other.path}: pairwise compares two runs, found the same one twice")
    if own["data"] != theirs["data"]:
        raise SpecError(
            f"{other.path}: is a run over {theirs['data']} data, and {run.path} one over {own['data']} data"
        )
    model = theirs["model"]
    assert isinstance(model, dict)
    return {"model": model["id"], "digest": digest(undescribed(theirs))}


def _folder(directory: RunDirectory, record: Mapping[str, Json]) -> Path:
    """Return the folder of a judge under a rubric: the one with this record, else the next number."""
    head = digest(record)[:DIGEST_SHOWN]
    places = sorted((directory.path / FOLDER).glob("[0-9]*-*"))
    for place in places:
        if place.name.endswith(f"-{head}"):
            return place
    last = max((int(place.name.partition("-")[0]) for place in places), default=0)
    rubric = record["rubric"]
    assert isinstance(rubric, dict)
    return directory.path / FOLDER / f"{last + 1:03d}-{rubric['name']}-{head}"


def _ask(
    spec: JudgeSpec,
    one: JudgeModel,
    questions: Questions,
    folder: JudgeFolder,
    record: Mapping[str, Json],
    watch: Observer,
    command: Sequence[str],
) -> int:
    """Ask a judge everything that is due; return the number of requests that were finished now.

    Raises:
        HarnessError: The judge cannot be loaded, or all of the first requests fail.
        KeyboardInterrupt: Ctrl-C.
    """
    capabilities = one.capabilities
    store = RunStore(folder.path, secrets=secrets_of(one.reference.arguments))
    try:
        store.open(record)
        for repair in store.repairs:
            watch.notice(repair)
        write_samples(folder, questions)
        asking = Asking(
            questions=questions,
            folder=folder,
            store=store,
            size=capabilities.usual_batch or min(DEFAULT_BATCH, capabilities.max_batch),
            batch_invariant=capabilities.batch_invariant,
            retry_unjudged=spec.retry_unjudged,
        )
        due = asking.first()
        before = len(store.offsets)
        if due:  # a judge that has nothing left to say is not even loaded
            store.add_session(session_record(command, gpus=gpus_here(), secrets=store.secrets))
            progress = ReplyProgress(
                store=store,
                total=before + len(due),
                counts=Counter(store.statuses),
                watch=watch.progress,
                who="judge",
                what="judging",
                remedy="They are stored as unjudged. Once the judge answers, --retry-unjudged asks them again.",
            )
            _run(spec, one, asking, due, progress)
        store.write_performance(performance_of(store.directory))
        store.seal_outputs()
        return len(store.offsets) - before
    finally:
        store.close()


def _run(
    spec: JudgeSpec, one: JudgeModel, asking: Asking, due: Mapping[str, tuple[int, int]], progress: ReplyProgress
) -> None:
    store, capabilities = asking.store, one.capabilities
    runner = choose_runner(RunSpec(tasks=(), model=one.reference.text, ray="off"), capabilities.resources)
    setup = WorkerSetup(
        reference=one.reference,
        roots=asking.questions.roots,
        device=device_of(runner.wanted.resources),
        threads=max(1, int(capabilities.resources.cpus)),
        folder=store.directory.model_folder.resolve(),
        timeout=spec.timeout,
        load_timeout=load_seconds(spec.timeout),
    )

    def grown(number: int) -> None:
        progress.total += number

    suspects = find_suspects(store.directory.read_events())
    store.event("session", runner="process", done=progress.done, total=progress.total)
    state = "interrupted"
    try:
        run_in_process(
            setup,
            asking.batches(due, grown),
            progress,
            suspects,
            timeout=spec.timeout,
            batch_invariant=capabilities.batch_invariant,
        )
        state = "done"
    finally:
        store.event("stopped", state=state, done=progress.done)
        store.status(progress.status(state), at_once=True)
    if progress.done < progress.total:
        raise InterruptedRunError(
            f"{progress.total - progress.done} of {progress.total} requests to the judge are not finished; run the "
            "same command again"
        )
