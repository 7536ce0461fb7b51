"""Verifying a bundle: numbers follow from predictions and one's own targets, or the bundle is refused."""

import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from click.testing import CliRunner

from harness.errors import DataError, HarnessError, SpecError
from harness.imaging import masks
from harness.records.codec import mask_from_json
from leaderboard.cli import main
from leaderboard.verify import Verified, verify
from tests.support.bundle_mutations import HARMLESS, KINDS, LINES, mutated, read
from tests.support.good_bundle import BUNDLE, DATA, MODALITIES, SIZE

GOOD = BUNDLE.read_bytes()
ROOTS = (str(DATA),)
MOST_KIB = 200_000


@pytest.fixture(scope="session")
def verified() -> Verified:
    return verify(BUNDLE, given_roots=ROOTS)


def numbers(results: Any) -> list[Any]:
    return [(row["value"], row["ci"], row["n"]) for block in results["tasks"].values() for row in block["metrics"]]


def value(verified: Verified, task: str, metric: str) -> float:
    rows = verified.results["tasks"][task]["metrics"]
    found = [
        row["value"]
        for row in rows
        if (row["metric"], row["protocol"], row["mean"], row["stratum"]) == (metric, "standard", "micro", None)
    ]
    return float(found[0])


def test_the_numbers_of_a_good_bundle_are_those_that_its_predictions_give(verified: Verified) -> None:
    assert verified.unverified == ()
    assert verified.predictions == 18
    assert verified.compared == len(numbers(verified.results))
    stored = json.loads(read(GOOD)["results.json"])
    assert numbers(verified.results) == numbers(stored)
    # By hand: every third question is answered by no, and the fifth and sixth answer failed.
    right = [number for number in range(12) if number not in (4, 5) and (number % 3 == 0) == (number % 2 == 1)]
    assert value(verified, "vqa_rad", "vqa_accuracy") == pytest.approx(len(right) / 12)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    targets = [(y - 10 - number) ** 2 + (x - 14) ** 2 < 30 for number in range(len(MODALITIES))]
    packed = next(content for name, content in read(GOOD).items() if name.startswith("blobs/"))
    noise = json.loads(zstandard.decompress(packed))
    found = [(y - 11 - number) ** 2 + (x - 15) ** 2 < 25 for number in range(len(MODALITIES))]
    found[2], found[3] = masks.decode(mask_from_json(noise[0])), np.zeros(SIZE, bool)
    dice = [2 * (a & b).sum() / (a.sum() + b.sum()) for a, b in zip(found, targets, strict=True)]
    assert value(verified, "samed2d_seg", "dice") == pytest.approx(np.mean(dice), abs=1e-12)


def test_without_data_only_the_form_is_checked() -> None:
    assert verify(BUNDLE).unverified == (
        "the form of the bundle is right; without --data-root its numbers are not verified",
    )


def test_without_the_data_of_a_task_nothing_is_said_of_the_numbers(tmp_path: Path) -> None:
    shutil.copytree(DATA / "vqa_rad", tmp_path / "vqa_rad")
    (reason,) = verify(BUNDLE, given_roots=(str(tmp_path),)).unverified
    assert "samed2d" in reason


def test_other_data_refuse_the_bundle(tmp_path: Path) -> None:
    shutil.copytree(DATA, tmp_path / "data")
    listing = tmp_path / "data" / "vqa_rad" / "testset.json"
    listing.write_text(listing.read_text().replace('"answer": "no"', '"answer": "yes"', 1))
    with pytest.raises(DataError, match=r"tasks\.vqa_rad\.data_digest: the data below --data-root have the digest"):
        verify(BUNDLE, given_roots=(str(tmp_path / "data"),))


# What only the data can tell; each stands for a kind of check. All kinds are tried by the slow test below.
REASONS = {
    "value raised": r"do not follow from its predictions, 1 difference:\n  .* value: results\.json says 0\.99, the",
    "another model": "18 of 18 samples have no prediction; 18 predictions answer no request of this model",
    "unknown task": "no task or group is called 'no_such_task'",
    "unknown task version": r"tasks\.vqa_rad\.version: 99 is not known here, where the task has version \d+",
    "other task digest": r"tasks\.vqa_rad\.digest: the task file of version",
    "other data digest": r"tasks\.vqa_rad\.data_digest",
    "other decoding": r"tasks\.vqa_rad\.decoding: the task says",
    "phantom called real": "the run is on phantom data, and --data-root names real data",
    "line dropped": "1 of 18 samples have no prediction, such as",
    "line twice": "the same request is answered twice",
    "wrong answer blamed on the data": "1 predictions say that the data cannot be read, and here they can",
    "empty called ok": "says ok, and what it holds is empty",
    "malformed mask": "is no valid answer: masks",
    "verdict without a judge": "expected the answer that follows from the predictions, found another",
    "judged sample of another type": "names tasks or repetitions that the run does not have",
    "reply to nothing": "1 replies belong to no question of the run",
    "another judge": "the folder is not named after its record",
    "another rubric": "rubric correctness has version 1 here",
    "rubric from a path": r"rubric\.name: expected letters",
    "panel of nobody": "a panel names a judge that the bundle does not hold",
}


@pytest.mark.parametrize(
    "kind", [*list(REASONS)[:1], *(pytest.param(k, marks=pytest.mark.slow) for k in list(REASONS)[1:])]
)
def test_a_lie_is_refused_with_its_reason(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(mutated(f"sealed: {kind}", 0, GOOD))
    with pytest.raises(HarnessError, match=REASONS[kind]):
        verify(path, given_roots=ROOTS)


def refused_or_true(kind: str, seed: int, verified: Verified, folder: Path) -> bool:
    """Return whether a mutated bundle is accepted, after checking that its numbers are then the true ones."""
    path, work = folder / "bundle.zip", folder / "work"
    path.write_bytes(mutated(kind, seed, GOOD))
    work.mkdir(exist_ok=True)
    found, reason = None, ""
    try:
        found = verify(path, given_roots=ROOTS, work=work)
    except HarnessError as error:
        reason = str(error)
    assert sorted(entry.name for entry in folder.iterdir()) == ["bundle.zip", "work"], "written outside"
    assert list(work.iterdir()) == [], "the work folder is left clean"
    if found is None:
        assert reason, "a refusal has a reason"
        assert str(work) not in reason, "a reason names files as they are in the bundle"
        return False
    assert found.unverified == (), (kind, seed)
    assert numbers(found.results) == numbers(verified.results), (kind, seed)
    return True


# Bits of times and attributes in an archive change nothing that is read, and some bytes of files change no number.
SOMETIMES = {"raw: bit flipped", "sealed: a byte"}
MAY_BE_ACCEPTED = {*(f"sealed: {name}" for name in HARMLESS), *SOMETIMES}


@pytest.mark.parametrize("kind", ["sealed: last digit", *KINDS[1::24]])
def test_a_mutated_bundle_is_refused_or_accepted_with_the_true_numbers(
    kind: str, verified: Verified, tmp_path: Path
) -> None:
    accepted = refused_or_true(kind, 2026, verified, tmp_path)
    assert kind in SOMETIMES or accepted == (kind in MAY_BE_ACCEPTED)


SEEDS = 8


def test_the_slow_test_tries_a_thousand_bundles_of_many_kinds() -> None:
    assert len(set(KINDS)) == len(KINDS) >= 25
    assert len(KINDS) * SEEDS >= 1000


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_of_a_thousand_mutated_bundles_none_lies(kind: str, verified: Verified, tmp_path: Path) -> None:
    accepted = [refused_or_true(kind, seed, verified, tmp_path) for seed in range(SEEDS)]
    if kind not in MAY_BE_ACCEPTED:
        assert not any(accepted)
    elif kind not in SOMETIMES:  # a check that refuses everything would pass for a good one
        assert all(accepted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["good", "sealed: packed bomb", "raw: bomb", "sealed: many values", "sealed: last digit"]
)
def test_a_bundle_takes_little_memory(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    path.write_bytes(GOOD if kind == "good" else mutated(kind, 0, GOOD))
    code = (
        "import re, sys\nfrom leaderboard.cli import main\n"
        "try:\n    main(['verify', *sys.argv[1:]])\nexcept SystemExit as end:\n    print(end.code)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    command = [sys.executable, "-c", code, str(path), "--data-root", str(DATA)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    *_, exit_code, peak = done.stdout.split()
    assert exit_code == ("0" if kind in ("good", "sealed: last digit") else "2")
    # Of the process itself: what its parent took is none of its own.
    assert int(peak) < MOST_KIB
    assert "Traceback" not in done.stderr


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    path = tmp_path / "bundle.zip"
    done = CliRunner().invoke(main, ["verify", str(BUNDLE)])
    assert done.exit_code == 3
    assert "numbers not verified: the form of the bundle is right" in done.stderr
    assert done.stdout == ""
    path.write_bytes(mutated("raw: link", 0, GOOD))
    done = CliRunner().invoke(main, ["verify", str(path), "--json"])
    assert (done.exit_code, json.loads(done.stdout)) == (2, {"verified": False, "refused": "blobs/link: is a link"})
    assert re.search(r"leaderboard: .*bundle\.zip: refused: blobs/link: is a link", done.stderr)
    done = CliRunner().invoke(main, ["verify", str(tmp_path / "nowhere.zip")])
    assert done.exit_code == 2
    assert "no such file; expected what `harness bundle` writes" in done.stderr
    done = CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert "is a folder; expected a file, which `harness bundle RUN_DIR -o FILE.zip` writes of a run" in done.stderr


def test_a_wrong_option_is_no_fault_of_the_bundle() -> None:
    done = CliRunner().invoke(main, ["verify", str(BUNDLE), "--data-root", "no/such/folder"])
    assert done.exit_code == 2
    assert done.stderr == "leaderboard: --data-root no/such/folder: no such folder\n"


def test_a_work_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["verify", str(BUNDLE), "--work", str(tmp_path / "nowhere")])
    assert (done.exit_code, done.stderr) == (2, f"leaderboard: --work {tmp_path / 'nowhere'}: expected a folder\n")


def test_a_full_disk_is_no_fault_of_the_bundle(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("leaderboard.verification.archive._unpack_member", fails)
    with pytest.raises(SpecError, match=r"^--work .*: cannot be used: No space left on device; name another folder"):
        verify(BUNDLE, work=tmp_path)


def test_a_fault_of_scoring_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("future field")

    monkeypatch.setattr("leaderboard.verify.rescore_bundle", fails)
    with pytest.raises(DataError, match="its predictions cannot be scored: KeyError: 'future field'"):
        verify(BUNDLE, given_roots=ROOTS)


def test_reasons_name_no_folder_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path, *_: object, **__: object) -> None:
        raise SpecError(f"{folder}/run.json: is odd")

    monkeypatch.setattr("leaderboard.verify.rescore_bundle", fails)
    with pytest.raises(SpecError, match=r"^run\.json: is odd"):
        verify(BUNDLE, given_roots=ROOTS)


def test_the_lines_of_a_bundle_are_those_of_the_plan() -> None:
    lines = [json.loads(line) for line in read(GOOD)[LINES].splitlines()]
    assert len({line["key"] for line in lines}) == len(lines) == 18
    assert not any("rendered" in line or "traceback" in line.get("error", {}) for line in lines)
