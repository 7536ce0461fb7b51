"""The order in which the pieces of the ablations are done, and what is kept of them."""

import json
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablations import runs
from benchmarks.ablations.__main__ import ablations_of, arguments
from benchmarks.ablations.medplib import FULL
from benchmarks.ablations.runs import Ablations, Piece, check_settings, in_turn, lines, note, wall_seconds
from harness.errors import SpecError
from reference_model.training.recipe_files import load_recipe


class AtOnce(Executor):
    """Does a piece when it is submitted, and notes which are submitted before the result of one is read."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def submit(self, function: Any, /, piece: Any, threads: Any) -> Any:  # noqa: ARG002
        self.names.append(piece.name)
        future: Future[float] = Future()
        future.set_result(1.0)
        return future


def test_every_piece_is_done_once_after_what_it_needs(ablations: Ablations) -> None:
    pieces, pool = ablations.pieces(), AtOnce()
    finished = [piece for piece, _ in in_turn(pool, pieces, set(), 2)]
    assert sorted(pool.names) == sorted(piece.name for piece in pieces)
    assert len(set(pool.names)) == len(pieces) == 28
    for piece in finished:
        before = pool.names[: pool.names.index(piece.name)]
        assert {one.name for one in piece.needs.values()} <= set(before)
    assert pool.names[:2] == ["seed 1 stages-0", "seed 2 stages-0"]


def test_what_is_finished_is_not_done_again(ablations: Ablations) -> None:
    pieces, pool = ablations.pieces(), AtOnce()
    done = {piece.name for piece in pieces if piece.job.name != "full"}
    list(in_turn(pool, pieces, done, 2))
    assert pool.names == ["seed 1 full", "seed 2 full"]


def test_a_piece_is_finished_with_its_model_or_its_evaluation(ablations: Ablations) -> None:
    pieces = {piece.job.name: piece for piece in replace(ablations, seeds=(1,)).pieces()}
    shared, last = pieces["stages-0"], pieces["full"]
    for piece in (shared, last):
        piece.model.mkdir(parents=True)
    assert shared.is_finished
    assert not last.is_finished
    (last.folder / "run").mkdir()
    (last.folder / "run" / "results.json").touch()
    assert last.is_finished


def test_a_folder_goes_on_with_more_seeds_but_not_with_another_share(ablations: Ablations) -> None:
    check_settings(ablations)
    check_settings(replace(ablations, seeds=(1, 2, 3), arms=(FULL,)))
    with pytest.raises(SpecError, match=r"settings.json: was begun with share 0.25; go on with the same, or name"):
        check_settings(replace(ablations, share=0.5))


def test_wall_time_adds_up_sessions_and_forgives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / runs.FINISHED
    for session, after in ((1.0, 10.0), (1.0, 25.0), (2.0, 5.0)):
        note(path, {"session": session, "after": after})
    path.write_text(path.read_text() + '{"session": 2.0, "af')
    assert len(lines(path)) == 3
    assert wall_seconds(tmp_path) == 30.0
    assert wall_seconds(tmp_path / "nowhere") == 0.0


def test_a_lent_model_has_the_numbers_of_the_arm_and_the_same_weights(ablations: Ablations, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.safetensors", "model.json", "config.json"):
        (model / name).write_text(name)
    config = replace(ablations.recipe.config, moe=replace(ablations.recipe.config.moe, top_k=2))
    for _ in range(2):
        runs.lend(model, tmp_path / "lent" / "model", config)
    lent = tmp_path / "lent" / "model"
    assert json.loads((lent / "config.json").read_text())["moe"]["top_k"] == 2
    assert (lent / "model.safetensors").samefile(model / "model.safetensors")
    assert (model / "config.json").read_text() == "config.json"


def test_patients_that_are_trained_on_are_not_evaluated_on() -> None:
    root = load_recipe("medplib-tiny").data_roots[0]
    with pytest.raises(SpecError, match=f"--data-root {root}: expected patients that medplib-tiny does not train on"):
        ablations_of(arguments().parse_args(["--data-root", root]))
    assert ablations_of(arguments().parse_args(["--seeds", "2"])).seeds == (42, 43)


def test_pieces_travel_to_other_processes(ablations: Ablations) -> None:
    import pickle

    piece: Piece = pickle.loads(pickle.dumps(ablations.pieces()[-1]))
    assert piece.name == ablations.pieces()[-1].name
