"""The gate on the committed reference model and a copy of it that was damaged."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from reference_model.adapter import WEIGHTS

NOISE = 0.5  # of a tensor's own standard deviation
DAMAGED = ("language.", "mask_decoder.")


def run(model: str, out: Path, tasks: Sequence[str], limit: int | None = None) -> Path:
    spec = RunSpec(
        tasks=tuple(tasks), model=f"reference:{model}", data_roots=("phantom:5",), out=out, limit=limit, ray="off"
    )
    return evaluate(spec).out


def gate(baseline: Path, candidate: Path) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["gate", "--baseline", str(baseline), "--candidate", str(candidate)])
    return result.exit_code, result.stdout


@pytest.mark.slow
def test_a_copy_with_noise_in_language_model_and_mask_decoder_is_found(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    copy = tmp_path / "noisy"
    shutil.copytree(WEIGHTS / "medplib-tiny", copy)
    tensors = load_file(copy / "model.safetensors")
    generator = np.random.default_rng(0)
    for name, tensor in tensors.items():
        if name.startswith(DAMAGED):
            noise = generator.normal(0, NOISE * float(tensor.astype(np.float64).std()), tensor.shape)
            tensors[name] = (tensor + noise).astype(tensor.dtype)
    save_file(tensors, copy / "model.safetensors")
    tasks = ("mecovqa_g", "vqa_rad")
    good = run("tiny", tmp_path / "good", tasks)
    bad = run(str(copy), tmp_path / "bad", tasks)
    code, text = gate(good, bad)
    assert code == 1, text
    for words in ("REGRESSION   mecovqa_g", "REGRESSION   vqa_rad", "in modality=", "in answer_type=", "lost most: "):
        assert words in text
    assert gate(bad, good)[0] == 0
    assert gate(good, good)[0] == 0
    code, text = gate(good, run("tiny", tmp_path / "gone", ["vqa_rad"]))
    assert (code, "the candidate has no task mecovqa_g" in text) == (3, True)
    few = [run(model, tmp_path / name, ["mecovqa_g"], 15) for model, name in (("tiny", "a"), (str(copy), "b"))]
    code, text = gate(*few)
    assert (code, "fewer than the 20 that a verdict needs" in text) == (3, True)
    # A metric that vanished from the results.
    results = json.loads((bad / "results.json").read_text())
    block = results["tasks"]["vqa_rad"]
    block["metrics"] = [row for row in block["metrics"] if row["metric"] != block["headline"]["metric"]]
    (bad / "results.json").write_text(json.dumps(results))
    (bad / "digests.json").unlink()  # else the edited file counts as damaged
    code, text = gate(bad, good)
    assert code == 3
    assert "the baseline has no headline of vqa_rad" in text
