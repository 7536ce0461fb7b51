"""OmniMedVQA from release to numbers: valid tasks, chance, the authors' words for real data, what defects cost."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from harness.data.phantoms.defects.omnimedvqa import DEFECTS, plant_omnimedvqa
from harness.data.phantoms.writers.omnimedvqa import PATIENTS, write_omnimedvqa

TASKS = ("omnimedvqa_letter", "omnimedvqa_text", "omnimedvqa_prefix", "omnimedvqa_medplib7", "omnimedvqa_huatuo8")
ECHO = """\
from harness import Answer, Capabilities

class Echo:
    def capabilities(self):
        gives = frozenset({"text", "nll"})
        return Capabilities(takes=frozenset({"text", "image"}), gives=gives, batch_invariant=True)

    def load(self, device):
        pass

    def predict(self, requests):
        return [Answer(text=request.prompt, nll=[1.0] * len(request.candidates)) for request in requests]
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release that is handed over as if it were the real one."""
    folder = tmp_path_factory.mktemp("release")
    write_omnimedvqa(folder, 0, patients=PATIENTS)
    return folder


def run(command: Any, out: Path, data: object, *words: object) -> Any:
    result = command("run", "--data-root", data, "--out", out, "--ray", "off", *words)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "results.json").read_text())


def whole(results: Any, task: str) -> dict[str, float]:
    """Return the mean of the task's samples by protocol."""
    rows = results["tasks"][task]["metrics"]
    return {row["protocol"]: row["value"] for row in rows if row["stratum"] is None and row["mean"] == "micro"}


def test_every_task_is_valid_on_drawn_patients(command: Any) -> None:
    result = command("validate", *TASKS, "--data-root", "phantom", "--json")
    assert result.exit_code == 0, result.stdout
    reports = json.loads(result.stdout)
    assert [report["task"] for report in reports] == list(TASKS)
    for report in reports:
        for means in report["scores"].values():
            assert (means["oracle"], means["empty"]) == (1.0, 0.0)
            assert means["shuffled"] < 0.9


def test_random_answers_are_at_chance_under_every_protocol(command: Any, tmp_path: Path) -> None:
    results = run(command, tmp_path / "run", "phantom", "--tasks", ",".join(TASKS), "--model", "baseline:random")
    chance, deviation = 0.41, 0.03  # 180 questions with 2 options, 9 with 3, 96 with 4
    for task in TASKS:
        values = whole(results, task).values()
        assert all(abs(value - chance) < 3 * deviation for value in values), (task, values)
        assert results["tasks"][task]["wording"] == "own"
    requests = (tmp_path / "run/predictions/predictions.jsonl").read_text().count("\n")
    assert requests == 3 * results["tasks"]["omnimedvqa_letter"]["wanted"]  # both papers' tasks ask nothing new


def test_a_limited_run_takes_the_same_samples_for_all_three_ways_of_asking(command: Any, tmp_path: Path) -> None:
    words = ("--tasks", "omnimedvqa", "--model", "baseline:random", "--limit", "8")
    results = run(command, tmp_path / "run", "phantom", *words)
    assert [block["counts"] for block in results["tasks"].values()] == [{"ok": 8}] * 3
    assert results["groups"]["omnimedvqa"]["members"] == list(TASKS[:3])
    plans = [_sample_ids(tmp_path / "run" / "plan" / f"{task}.parquet") for task in TASKS[:3]]
    assert plans[0] == plans[1] == plans[2]


def _sample_ids(path: Path) -> list[str]:
    from pyarrow import parquet

    found: list[str] = parquet.read_table(path, columns=["sample_id"])["sample_id"].to_pylist()
    return found


@pytest.mark.parametrize(("task", "modalities"), [("omnimedvqa_medplib7", 7), ("omnimedvqa_huatuo8", 8)])
def test_the_papers_means_are_those_of_their_modalities(
    command: Any, tmp_path: Path, task: str, modalities: int
) -> None:
    words = ("--tasks", task, "--model", "baseline:random")
    block = run(command, tmp_path / "run", "phantom", *words)["tasks"][task]
    protocol = block["headline"]["protocol"]
    rows = [row for row in block["metrics"] if row["protocol"] == protocol]
    parts = [row["value"] for row in rows if "modality" in (row["stratum"] or {})]
    (mean,) = [row["value"] for row in rows if row["mean"] == "macro"]
    assert (len(parts), block["headline"]["over"]) == (modalities, "modality")
    assert mean == pytest.approx(sum(parts) / modalities, abs=1e-12)


def test_show_tells_subset_number_words_and_mean(command: Any) -> None:
    shown = {task: command("show", task).stdout for task in TASKS}
    assert "modality: ct, mr, oct, derm, micro, xray, us\n" in shown["omnimedvqa_medplib7"]
    assert "modality: ct, fundus, mr, oct, derm, micro, xray, us\n" in shown["omnimedvqa_huatuo8"]
    for task, protocol in (("omnimedvqa_medplib7", "medplib"), ("omnimedvqa_huatuo8", "huatuo")):
        assert f"protocol: {protocol}\n  mean: macro\n  over: modality" in shown[task]
    for task in ("omnimedvqa_letter", "omnimedvqa_text", "omnimedvqa_prefix", "omnimedvqa_huatuo8"):
        assert "samples: 88996" in shown[task]
    assert "name: omnimedvqa_qa" in shown["omnimedvqa_text"]


def test_real_data_are_asked_in_the_words_of_each_protocol(command: Any, root: Path, tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(ECHO)
    words = ("--tasks", "omnimedvqa", "--model", f"{tmp_path / 'echo.py'}:Echo", "--limit", "1")
    results = run(command, tmp_path / "run", root, *words)
    used = [block["wording"] for block in results["tasks"].values()]
    assert used == ["huatuo_letter", "omnimedvqa_qa", "omnimedvqa_prefix"]
    lines = (tmp_path / "run/predictions/predictions.jsonl").read_text().splitlines()
    letter, text, prefix = sorted((json.loads(line)["text"] for line in lines), key=_ending)
    question = letter.partition("\n")[0]
    options = [line[3:] for line in letter.splitlines()[1:-1]]
    listed = "\n".join(f"{name}. {option}" for name, option in zip("ABCD", options, strict=False))
    assert letter == f"{question}\n{listed}\nAnswer with the option's letter from the given choices directly."
    assert text.startswith(f"{question}Here are {len(options)} candidate answers:{options!r} Only return what ")
    assert prefix == f"Question: {question} The answer is"


def _ending(prompt: str) -> int:
    return ("directly.", "text!", "is").index(prompt.rpartition(" ")[2])


def test_defects_cost_what_the_page_says(command: Any, root: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(root, data)
    plant_omnimedvqa(data, frozenset(DEFECTS) - {"duplicate_id"})
    words = ("--tasks", "omnimedvqa", "--model", "baseline:oracle", "--max-failures", "100%")
    results = run(command, tmp_path / "run", data, *words)
    for task in TASKS[:3]:
        block = results["tasks"][task]
        lost = block["counts"]["data_error"]
        assert lost > 3
        assert block["coverage"] == pytest.approx(1 - lost / block["wanted"])
        for row in block["metrics"]:
            if row["stratum"] is None:
                told = row["protocol"] == "medplib"  # the one protocol that needs no letter of the right option
                assert (row["value"], row["undefined"]) == (1.0, 0 if told else 1), row["protocol"]
