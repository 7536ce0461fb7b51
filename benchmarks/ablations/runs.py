"""Training and evaluating the arms of the ablations: several processes at once, each finished piece kept in a folder.

DIR/settings.json               what must not change when the folder is resumed
DIR/sessions.jsonl              a line per session: start, versions and hardware
DIR/finished.jsonl              a line per finished piece: how long it took, and when in its session it ended
DIR/seed-42/stages-0123/        a training that arms share, as `reference-model train` leaves it
DIR/seed-42/full/stage-4/model/ the model of an arm
DIR/seed-42/full/run/           its run of the harness
"""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context, parent_process
from pathlib import Path

from safetensors.torch import save_file

from benchmarks.ablations.arms import PARENTS, Arm, Job, jobs_of
from harness.errors import SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.records import Json
from harness.records.atomic_files import write_atomically
from harness.records.codec import digest, sha256_file
from harness.runs.directory import RunDirectory
from harness.runs.provenance import session_record
from reference_model.checkpoints.atomic_folders import atomic_folder, write_json
from reference_model.checkpoints.checkpoint import CONFIG, WEIGHTS, read_tensors
from reference_model.config import AnyConfig
from reference_model.training.handover import MODEL, stage_folder
from reference_model.training.loop import Silent
from reference_model.training.recipe import Recipe, fits
from reference_model.training.stages import StagedTraining

SETTINGS, SESSIONS, FINISHED = "settings.json", "sessions.jsonl", "finished.jsonl"
RUN = "run"
ADAPTER = "reference_model.adapter:Reference"
# An arm that answers nothing is a result, not an error of the run: its samples count with the worst value.
MAX_FAILURES = "100%"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablations:
    """All trainings and evaluations of one folder.

    Attributes:
        recipe: Recipe whose stages are trained.
        arms: The settings that are compared.
        tasks: Tasks of the evaluation.
        parents: Finished model of stage 0 that all trainings start from; None: every seed trains its own.
        seeds: Seeds of the trainings.
        share: Share of the recipe's steps.
        data_root: Data root of the patients of the evaluation.
        limit: Samples per task; None: all.
        cache: Cache folder of the harness.
        out: Folder for everything that is written.
    """

    recipe: Recipe
    arms: tuple[Arm, ...]
    tasks: tuple[str, ...]
    parents: Path | None = None
    seeds: tuple[int, ...]
    share: float
    data_root: str
    limit: int | None
    cache: Path
    out: Path

    def pieces(self) -> "list[Piece]":
        """Return the trainings of all seeds, early stages first, as many others wait for them."""
        jobs = jobs_of(self.recipe, self.arms)
        return [Piece(ablations=self, job=job, seed=seed) for job in jobs for seed in self.seeds]

    def settings(self) -> dict[str, Json]:
        """Return everything that decides about the numbers, except seeds and arms, which may be added later."""
        recipe = json.loads(json.dumps(asdict(self.recipe)))
        shown = {"share": self.share, "data_root": self.data_root, "limit": self.limit, "seed": self.recipe.seed}
        parents = None if self.parents is None else sha256_file(self.parents / WEIGHTS)
        return {"recipe": self.recipe.name, **shown, "parents": parents, "digest": digest(recipe)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One training of one seed and, if it trains an arm's model, the evaluation of that model."""

    ablations: Ablations
    job: Job
    seed: int

    @property
    def name(self) -> str:
        return f"seed {self.seed} {self.job.name}"

    @property
    def folder(self) -> Path:
        return seed_folder(self.ablations.out, self.seed) / self.job.name

    @property
    def model(self) -> Path:
        if self.ablations.parents is not None and self.job.stage.number == PARENTS:
            return self.ablations.parents
        return stage_folder(self.folder, self.job.stage.number) / MODEL

    @property
    def is_finished(self) -> bool:
        # Both appear in one step once they are complete, so that a piece that was killed is never taken for finished.
        return self.model.is_dir() if self.job.arm is None else RunDirectory(self.folder / RUN).results_path.is_file()

    @property
    def needs(self) -> dict[int, "Piece"]:
        """The pieces from whose models it starts, by stage number."""
        others = {job.name: job for job in jobs_of(self.ablations.recipe, self.ablations.arms)}
        return {number: replace(self, job=others[name]) for number, name in self.job.needs.items()}


def seed_folder(out: Path, seed: int) -> Path:
    """Return the folder of the trainings of a seed."""
    return out / f"seed-{seed}"


def run_folder(out: Path, seed: int, arm: Arm) -> Path:
    """Return the run directory of an arm."""
    return seed_folder(out, seed) / arm.name / RUN


def check_settings(ablations: Ablations) -> None:
    """Write the settings, or compare them with those of an earlier session.

    Raises:
        SpecError: The folder was begun with other settings.
    """
    path = ablations.out / SETTINGS
    wanted = ablations.settings()
    if not path.is_file():
        ablations.out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(wanted, indent=1) + "\n")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    changed = sorted(key for key in wanted if found.get(key) != wanted[key])
    if changed:
        earlier = ", ".join(f"{key} {found.get(key)}" for key in changed)
        raise SpecError(f"{path}: was begun with {earlier}; go on with the same, or name another folder by --out")


def work_off(ablations: Ablations, *, processes: int, tell: Callable[[str], None]) -> None:
    """Do all that is not finished, `processes` pieces at once.

    Raises:
        HarnessError: A piece fails; others that are running are finished first.
    """
    check_settings(ablations)
    pieces = ablations.pieces()
    done = {piece.name for piece in pieces if piece.is_finished}
    if len(done) < len(pieces):
        note(ablations.out / SESSIONS, {"jobs": processes, **session_record((), gpus=0)})
    began = time.time()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=end_with_driver) as pool:
        for piece, seconds in in_turn(pool, pieces, done, processes):
            after = round(time.time() - began, 1)
            line = {"piece": piece.name, "seconds": round(seconds, 1), "session": began, "after": after}
            note(ablations.out / FINISHED, line)
            tell(f"{piece.name}: {seconds:.0f} s ({len(done)} of {len(pieces)})")


def in_turn(pool: Executor, pieces: Sequence[Piece], done: set[str], processes: int) -> Iterator[tuple[Piece, float]]:
    """Do the pieces that are not `done`, each after those it needs; add it to `done` and yield it with its seconds."""
    # Each process gets its share of the cores; more threads than cores would only wait for each other.
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    waiting = [piece for piece in pieces if piece.name not in done]
    running: dict[Future[float], Piece] = {}
    while waiting or running:
        ready = [piece for piece in waiting if all(one.name in done for one in piece.needs.values())]
        for piece in ready[: processes - len(running)]:
            waiting.remove(piece)
            running[pool.submit(do_piece, piece, threads)] = piece
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            piece = running.pop(future)
            seconds = future.result()
            done.add(piece.name)
            yield piece, seconds


def note(path: Path, line: Mapping[str, Json]) -> None:
    """Append a line of JSON."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def lines(path: Path) -> list[dict[str, Json]]:
    """Return the lines of a file that `note` wrote; none if there is no such file."""
    # A kill in the middle of a write leaves a last line without an end; it is left out.
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def wall_seconds(out: Path) -> float:
    """Return the seconds of all sessions on a folder, each up to the last piece that it finished."""
    # Pieces run beside each other, so the sum of their own seconds would be more than the wall clock showed.
    latest: dict[float, float] = {}
    for line in lines(out / FINISHED):
        latest[line["session"]] = line["after"]
    return sum(latest.values())


def do_piece(piece: Piece, threads: int) -> float:
    """Train a piece, and evaluate it if it trains an arm's model; return the seconds it took."""
    import torch

    began = time.monotonic()
    torch.set_num_threads(threads)
    if not piece.model.is_dir():
        train_piece(piece)
    if piece.job.arm is not None:
        evaluate_piece(piece)
    return time.monotonic() - began


def end_with_driver() -> None:
    """End this process when its parent is gone, so that two sessions never work in one folder."""

    def watch() -> None:
        driver = parent_process()
        if driver is not None:
            driver.join()
            # sys.exit would end this thread alone and leave the training running.
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def train_piece(piece: Piece) -> None:
    """Train a stage from the models of the pieces it needs."""
    own, recipe = piece.job, piece.ablations.recipe
    for number, giver in piece.needs.items():
        lend(giver.model, stage_folder(piece.folder, number) / MODEL, own.config, own.lacks)
    stages = tuple(own.stage if stage.number == own.stage.number else stage for stage in recipe.stages)
    run = StagedTraining(
        recipe=replace(recipe, seed=piece.seed, config=own.config, stages=stages),
        out=piece.folder,
        cache=piece.ablations.cache,
        share=piece.ablations.share,
        notice=lambda _: None,
        watcher=Silent(),
    )
    run.stages([own.stage.number])


def lend(model: Path, folder: Path, config: AnyConfig, lacks: Sequence[str] = ()) -> None:
    """Put a finished model where a stage expects it, with the configuration of the model that is to be trained.

    Its weights are the same file, by a hard link: capacity, top-k and pooling have no weights. If the new model
    `lacks` modules, the file is written again without them.
    """
    if folder.is_dir():
        return
    with atomic_folder(folder) as partly:
        for path in model.iterdir():
            if path.name == WEIGHTS and lacks:
                kept = {
                    name: value
                    for name, value in read_tensors(path).items()
                    if not any(fits(name, pattern) for pattern in lacks)
                }
                save_file(kept, partly / WEIGHTS)
            elif path.name != CONFIG:
                try:
                    os.link(path, partly / path.name)
                except OSError:  # stage 0 of another training may be on another file system
                    shutil.copyfile(path, partly / path.name)
        write_json(partly / CONFIG, asdict(config))


def evaluate_piece(piece: Piece) -> None:
    """Evaluate an arm's model on all tasks."""
    ablations = piece.ablations
    spec = RunSpec(
        tasks=ablations.tasks,
        model=ADAPTER,
        model_args={"model": str(piece.model)},
        data_roots=(ablations.data_root,),
        out=piece.folder / RUN,
        limit=ablations.limit,
        ray="off",
        cache=ablations.cache,
        max_failures=MAX_FAILURES,
    )
    evaluate(spec)
