"""Several processes: two train what one trains, whole or spread over both, and one that fails ends the other."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from torch.multiprocessing.spawn import ProcessRaisedException

from harness.errors import InterruptedRunError, SpecError
from reference_model.checkpoints.checkpoint import About, load_model, save_model
from reference_model.cli import main
from reference_model.config import ModelConfig
from reference_model.distributed.fsdp import clip_gradients
from reference_model.distributed.processes import BUCKET, Processes, _buckets, choose_device, launch
from reference_model.modeling.build import build_model
from reference_model.training.loop import Silent, Watcher, cut, parts_of_step
from reference_model.training.recipe import Recipe
from reference_model.training.recipe_files import load_recipe
from reference_model.training.stage_fingerprint import stage_settings
from reference_model.training.stages import StagedTraining
from tests.unit.reference_model.distributed import process_jobs
from tests.unit.reference_model.small_training import Killed, small_recipe, small_run

ADAPTION = 4
WORDS = ("liver", "spleen", "yes", "no", "the")
SEVERAL = ("two", "spread", "spread, then one")


def logged(out: Path) -> list[dict[str, Any]]:
    """Return the lines of the log of the last stage."""
    return [json.loads(line) for line in (out / f"stage-{ADAPTION}/log.jsonl").read_text().splitlines()]


def write_parents(out: Path, recipe: Recipe) -> None:
    """Write the models that stage IV starts from, with drawn weights."""
    for number in (2, 3):
        torch.manual_seed(number)
        about = About(config=recipe.config, words=WORDS, experts=False)
        save_model(out / f"stage-{number}/model", build_model(recipe.config, experts=False), about)


@pytest.fixture(scope="module")
def trained(config: ModelConfig, drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Stage IV, experts that drop and adapters that drop out included: in one process, and in two from step 1 on."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("processes")
    recipe, cache = small_recipe(config, drawn, rows=2, muon=()), folder / "cache"  # Muon rounds to 16 bits
    outs = {name: folder / name for name in ("begun", "one", *SEVERAL)}
    write_parents(outs["begun"], recipe)
    shutil.copytree(outs["begun"], outs["one"])
    small_run(recipe, outs["one"], cache).stages([ADAPTION])
    with pytest.raises(KeyboardInterrupt):
        small_run(recipe, outs["begun"], cache, save_seconds=0.0, watcher=Killed(ADAPTION, 2)).stages([ADAPTION])
    for name in SEVERAL:
        shutil.copytree(outs["begun"], outs[name])

    def going_on(name: str, watcher: Watcher, *, shard: bool) -> Callable[..., StagedTraining]:
        chosen = replace(recipe, checkpointing=shard)  # a layer is then gathered once more to be computed again
        fields = {"recipe": chosen, "out": outs[name], "cache": cache, "steps": 3, "save_seconds": 0.0}
        return partial(StagedTraining, **fields, watcher=watcher, shard=shard)

    cut_short = going_on("spread, then one", Killed(ADAPTION, 3), shard=True)
    makes = [going_on("two", Silent(), shard=False), going_on("spread", Silent(), shard=True), cut_short]
    launch(process_jobs.talk_and_train, (makes, ADAPTION), 2)
    assert (outs["spread, then one"] / "stage-4/step-000002").is_dir()
    small_run(recipe, outs["spread, then one"], cache).stages([ADAPTION])
    return outs


@pytest.mark.parametrize("name", SEVERAL)
def test_two_processes_go_on_with_the_losses_of_one(trained: dict[str, Path], name: str) -> None:
    one, several = logged(trained["one"]), logged(trained[name])
    assert [line["step"] for line in several] == [0, 1, 2]
    for expected, found in zip(one, several, strict=True):
        assert found["losses"] == pytest.approx(expected["losses"], abs=1e-5)
        assert [found["tokens"], found["dropped"]] == [expected["tokens"], expected["dropped"]]


@pytest.mark.parametrize("name", SEVERAL)
def test_two_processes_end_with_the_weights_of_one(trained: dict[str, Path], name: str) -> None:
    expected, found = (load_model(trained[key] / "stage-4/model")[0].state_dict() for key in ("one", name))
    assert expected.keys() == found.keys()
    for key, value in expected.items():
        assert (found[key] - value).abs().max() < 1e-5, key
    before = load_model(trained["one"] / "stage-2/model")[0].state_dict()
    assert (found["language.lm_head.weight"] - before["language.lm_head.weight"]).abs().max() > 1e-4


def test_only_another_cut_of_the_steps_makes_another_training(config: ModelConfig, drawn: Path) -> None:
    recipe = small_recipe(config, drawn, rows=2)
    found = [stage_settings(recipe, recipe.stage(ADAPTION), [], {}, steps=3, parts=parts) for parts in (2, 4)]
    assert found[1] == found[0] | {"parts of a step": 4}


@pytest.mark.parametrize(
    ("batch", "rows", "processes", "parts"),
    [(16, 16, 1, 1), (16, 16, 2, 2), (16, 4, 2, 4), (12, 4, 2, 4), (5, 2, 2, 4)],
)
def test_a_step_is_cut_into_as_many_parts_for_each_process(batch: int, rows: int, processes: int, parts: int) -> None:
    stage = replace(load_recipe("medplib-tiny").stage(1), batch=batch, rows=rows)
    assert parts_of_step(stage, processes) == parts
    pieces = cut([()] * batch, parts)
    assert sum(len(piece) for piece in pieces) == batch
    assert {len(piece) for piece in pieces} <= {batch // parts, batch // parts + 1}
    assert max(len(piece) for piece in pieces) <= rows
    owned = [number for one in range(processes) for number in Processes(number=one, count=processes).own(parts)]
    assert owned == list(range(parts))


def test_a_step_of_too_few_rows_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"--processes: expected at most as many parts as .* rows, 2, got 4; start fewer"
    ):
        cut([()] * 2, 4)


def test_spreading_over_one_process_is_refused(config: ModelConfig, drawn: Path, tmp_path: Path) -> None:
    run = small_run(small_recipe(config, drawn), tmp_path / "out", tmp_path, shard=True)
    with pytest.raises(SpecError, match=r"--shard: expected several processes .*, found one; add --processes"):
        run.stages([1])


@pytest.mark.parametrize(
    ("job", "kind", "message"),
    [
        (process_jobs.refuse_in_one, SpecError, "process 1 does not want to"),
        (
            process_jobs.be_killed_in_one,
            InterruptedRunError,
            r"process 1 of 2 was ended from outside \(SIGKILL\); the same",
        ),
        (process_jobs.fail_in_one, ProcessRaisedException, "ZeroDivisionError: a fault of ours"),
    ],
)
def test_a_process_that_fails_ends_the_others(job: Callable[[], None], kind: type[Exception], message: str) -> None:
    began = time.monotonic()
    with pytest.raises(kind, match=message):
        launch(job, (), 2)
    assert time.monotonic() - began < process_jobs.LONG


def test_processes_end_with_the_one_that_started_them(repository: Path, tmp_path: Path) -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as in the background of a shell's script
        "from pathlib import Path\n"
        "from reference_model.distributed.processes import launch\n"
        "from tests.unit.reference_model.distributed.process_jobs import tell_and_sleep\n"
        f"launch(tell_and_sleep, (Path({str(tmp_path)!r}),), 2)\n"
    )
    parent = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], cwd=repository)
    wait_for(lambda: len(list(tmp_path.iterdir())) == 2)
    parent.kill()
    parent.wait()
    wait_for(lambda: not any(runs(int(path.name)) for path in tmp_path.iterdir()))


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail when that takes as long as the processes would sleep."""
    end = time.monotonic() + 0.9 * process_jobs.LONG
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


def runs(pid: int) -> bool:
    """Return whether a process is there and is no corpse."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_gradients_are_clipped_as_torch_does_and_may_be_missing() -> None:
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.zeros(size)) for size in (3, 4, 5)]
    clip_gradients(parameters, 1.0)
    expected = []
    for parameter in parameters[:2]:
        parameter.grad = torch.randn(parameter.shape)
        expected.append(parameter.grad.clone())
    norm = torch.cat(expected).norm()
    clip_gradients(parameters, 0.5)
    for parameter, gradient in zip(parameters, expected, strict=False):
        torch.testing.assert_close(parameter.grad, gradient * 0.5 / norm)
    assert parameters[2].grad is None


def test_gradients_are_sent_in_buckets_in_their_order() -> None:
    tensors = [torch.empty(size, device="meta") for size in (BUCKET - 1, 1, 1, BUCKET + 5, 2)]
    found = [[one.numel() for one in bucket] for bucket in _buckets(tensors)]
    assert found == [[BUCKET - 1, 1], [1], [BUCKET + 5], [2]]
    assert list(_buckets([])) == []


def test_a_device_is_chosen_and_too_few_gpus_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(None, 2) == "cpu"
    with pytest.raises(SpecError, match=r"--device cuda: expected a GPU that torch can use, found none; leave"):
        choose_device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [choose_device(None, 2), choose_device("cpu", 3)] == ["cuda", "cpu"]
    with pytest.raises(SpecError, match=r"--processes 3: expected at most one for each of the 2 GPUs; start fewer, or"):
        choose_device(None, 3)


def test_processes_are_not_started_below_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    call = ["train", "--recipe", "medplib-tiny", "--stage", "1", "--out", "out", "--processes", "2"]
    result = CliRunner().invoke(main, call)
    assert result.exit_code == 2
    assert "--processes 2: expected none where a launcher has started 2 (WORLD_SIZE); leave one out" in result.stderr


@pytest.mark.slow
def test_the_command_and_a_launcher_train_the_same(drawn: Path, tmp_path: Path) -> None:
    train = ["-m", "reference_model.cli", "train", "--recipe", "medplib-tiny", "--stage", "0", "--steps", "2"]
    train += ["--data-root", str(drawn), "--device", "cpu"]
    starts = {
        "own": [*train, "--processes", "2"],
        "spread": [*train, "--processes", "2", "--shard"],
        "torchrun": ["-m", "torch.distributed.run", "--nproc-per-node", "2", *train],
    }
    logs = {}
    for name, start in starts.items():
        out = tmp_path / name
        command = [sys.executable, *start, "--out", str(out)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=200, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{out / 'stage-0' / 'model'}\n"
        logs[name] = [json.loads(line)["losses"] for line in (out / "stage-0/log.jsonl").read_text().splitlines()]
    assert logs["own"] == logs["torchrun"]
    for own, spread in zip(logs["own"], logs["spread"], strict=True):
        assert spread == pytest.approx(own, abs=1e-4)
