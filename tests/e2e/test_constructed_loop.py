"""A whole loop: construct from synthetic patients, train on it, evaluate, gate; and one worker or four."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
ROOT = Path(__file__).parents[2]
WRITER = f"{ROOT / 'tests/support/rule_writer.py'}:RuleWriter"
WEIGHTS = ROOT / "reference_model/weights/medplib-tiny"
RECIPE = """
recipe: on-our-set
preset: medplib-tiny
seed: 42
precision: fp32
checkpointing: false
stages: [1.yaml]
"""
STAGE = """
stage: 1
title: Adaption to a set of our own
trains: ["language.layers.*.mlp.router", language.lm_head, language.embed_tokens, mask_decoder, projector, region]
lora: {rank: 8, alpha: 16, dropout: 0.05, targets: [gate_proj, up_proj, down_proj, q_proj, v_proj]}
data:
  - {task: mecovqa_r, ratio: 1}
  - {task: mecovqa_g, ratio: 1}
losses: {language: 1.0, bce: 2.0, dice: 0.5, balance: 0.01}
learning_rate: 0.0001
schedule: cosine
warm_up: 0.05
steps: 2
batch: 2
questions: 2
answer_weight: 0.5
"""


def run(*words: str, command: str = "harness", cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run([str(Path(sys.executable).parent / command), *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode in codes, done.stderr
    return done.stdout


def digests(out: Path) -> dict[str, str]:
    """Return the sha256 of everything but the run directory."""
    files = [path for path in out.rglob("*") if path.is_file() and path.relative_to(out).parts[0] != "run"]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)}


def test_a_set_is_constructed_trained_on_evaluated_and_gated(tmp_path: Path) -> None:
    words = ["construct", "mecovqa", "--data-root", "phantom:5", "--llm", WRITER, "--limit", "60", "--out", "set"]
    funnel = json.loads(run(*words, "--json", cwd=tmp_path))
    assert sum(sum(step["rejected"].values()) for step in funnel["steps"]) == 0
    assert "| none |" in (tmp_path / "set/card.md").read_text(encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    (tmp_path / "1.yaml").write_text(STAGE, encoding="utf-8")
    training = ["train", "--recipe", "recipe.yaml", "--stage", "all", "--start", str(WEIGHTS)]
    run(*training, "--data-root", "set/release", "--out", "trained", command="reference-model", cwd=tmp_path)
    for model, out in ((WEIGHTS, "committed"), (tmp_path / "trained/stage-1/model", "ours")):
        asked = ["run", "--tasks", "mecovqa_g,mecovqa_r", "--model", f"reference:{model}", "--data-root", "set/release"]
        run(*asked, "--out", out, "--ray", "off", cwd=tmp_path)
    # A handful of test patients may be too few to judge by.
    told = run("gate", "--baseline", "committed", "--candidate", "ours", "--json", cwd=tmp_path, codes=(0, 1, 3))
    assert json.loads(told)


@pytest.mark.ray
def test_four_workers_and_a_kill_change_no_byte(tmp_path: Path) -> None:
    words = ["construct", "m3d-vqa", "--data-root", "phantom:5", "--llm", WRITER]
    run(*words, "--out", "one", cwd=tmp_path)
    run(*words, "--out", "four", "--workers", "4", cwd=tmp_path)
    assert digests(tmp_path / "one") == digests(tmp_path / "four")
    harness = str(Path(sys.executable).parent / "harness")
    killed = subprocess.Popen(
        [harness, *words, "--out", "killed"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    lines = tmp_path / "killed/run/predictions/predictions.jsonl"
    while killed.poll() is None and not (lines.is_file() and lines.stat().st_size):
        time.sleep(0.01)
    if killed.poll() is None:
        os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    run(*words, "--out", "killed", cwd=tmp_path)
    assert digests(tmp_path / "one") == digests(tmp_path / "killed")
