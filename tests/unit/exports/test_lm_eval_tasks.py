"""Tasks as a folder for lm-eval: the same answers get the same scores there as here."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import DataError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.exports import lm_eval_tasks
from harness.exports.lm_eval_tasks import ExportedTask, write_tasks
from harness.records import Media, Sample
from harness.tasks.catalog import look_up
from tests.support.tiny_vqa_rad import write_release

REPLIES = ("no", "yes", "", "It is no finding.", "no", "yes it is")


@pytest.fixture
def data(tmp_path: Path) -> str:
    return str(write_release(tmp_path / "data", 6))


def write(tmp_path: Path, data: str, *tasks: str, **options: Any) -> Path:
    write_tasks(tasks or ("vqa_rad",), (data,), tmp_path / "out", tmp_path / "cache", **options)
    return tmp_path / "out" / "vqa_rad"


def ours(tmp_path: Path, data: str) -> dict[str, float]:
    """Return our number of each metric and protocol for REPLIES."""
    file = tmp_path / "answers.jsonl"
    lines = [{"sample_id": f"vqa_rad/test/{number}", "text": reply} for number, reply in enumerate(REPLIES)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = evaluate(
        RunSpec(
            tasks=("vqa_rad",),
            model=f"predictions:{file}",
            data_roots=(data,),
            out=tmp_path / "run",
            cache=tmp_path / "cache",
            ray="off",
        )
    )
    rows = result.results["tasks"]["vqa_rad"]["metrics"]
    return {
        f"{row['metric']}.{row['protocol']}": row["value"]
        for row in reversed(rows)  # the first of a metric's values is the one that counts
        if row["stratum"] is None and row["mean"] == "micro"
    }


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("scoring", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def documents(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_the_written_functions_score_as_a_run_does(tmp_path: Path, data: str) -> None:
    folder = write(tmp_path, data)
    module = load(folder / "scoring.py")
    answered = [module.answers(one, [reply]) for one, reply in zip(documents(folder), REPLIES, strict=True)]
    theirs = {
        label: getattr(module, label.replace(".", "_").replace("-", "_"))([one[label] for one in answered])
        for label in answered[0]
    }
    expected = ours(tmp_path, data)
    assert theirs.keys() == expected.keys()
    assert len(set(theirs.values())) > 2
    assert theirs == pytest.approx(expected, abs=1e-12)


def test_documents_hold_our_prompt_and_show_our_image(tmp_path: Path, data: str) -> None:
    folder = write(tmp_path, data)
    first = documents(folder)[0]
    assert first["sample_id"] == "vqa_rad/test/0"
    assert first["prompt"] == "<image>\nIs finding 0 there?\nAnswer in a word or a short phrase."
    assert first["target"] == "yes" if first["sample_id"].endswith("1") else "no"
    (image,) = ExportedTask(folder).images(documents(folder)[1])
    assert np.asarray(image).shape == (8, 8, 3)
    assert np.asarray(image)[0, 0].tolist() == [1, 0, 0]
    text = (folder / "medground_vqa_rad.yaml").read_text()
    assert 'generation_kwargs: {"max_gen_toks": 64, "temperature": 0.0, "until": [], "do_sample": false}' in text
    assert "doc_to_image: !function scoring.images" in text


def test_text_only_leaves_the_images_out(tmp_path: Path, data: str) -> None:
    folder = write(tmp_path, data, text_only=True)
    assert documents(folder)[0]["prompt"] == "Is finding 0 there?\nAnswer in a word or a short phrase."
    assert "doc_to_image" not in (folder / "medground_vqa_rad.yaml").read_text()


def test_a_metric_without_a_value_is_nan(tmp_path: Path, data: str) -> None:
    assert np.isnan(ExportedTask(write(tmp_path, data)).aggregation("vqa_accuracy.standard")([]))


def test_samples_that_cannot_be_asked_are_left_out_and_counted(tmp_path: Path, data: str) -> None:
    (Path(data) / "vqa_rad" / "images" / "1.png").unlink()
    (written,) = write_tasks(("vqa_rad",), (data,), tmp_path / "out", tmp_path / "cache")
    assert (written.samples, written.left_out, written.images) == (4, 2, True)
    for image in (Path(data) / "vqa_rad" / "images").iterdir():
        image.write_bytes(b"")
    with pytest.raises(DataError, match="vqa_rad: none of its 6 samples can be asked; see its integrity report"):
        write_tasks(("vqa_rad",), (data,), tmp_path / "out", tmp_path / "cache")


def test_tasks_that_lm_eval_cannot_run(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="samed2d_seg: gives masks; lm-eval runs tasks that ask for words"):
        write(tmp_path, data, "samed2d_seg")
    with pytest.raises(SpecError, match="omnimedvqa_prefix: asks for nll; lm-eval runs tasks that ask for words"):
        write(tmp_path, data, "omnimedvqa_prefix")
    catalog, names = look_up(("vqa_rad",))
    (task,), _ = catalog.resolve(names)
    sample = replace(next(iter(documents_of(tmp_path, data))), media=(_volume(),))
    with pytest.raises(SpecError, match="vqa_rad: volume: models of lm-eval take words and images: the task needs "):
        lm_eval_tasks.request_of(task, sample)
    found = (catalog, names)
    monkeypatch.setattr(type(catalog), "resolve", lambda *_: ([replace(task, repeats=3)], []))
    monkeypatch.setattr(lm_eval_tasks, "look_up", lambda *_: found)
    with pytest.raises(SpecError, match="vqa_rad: is asked 3 times; lm-eval runs tasks that are asked once"):
        write(tmp_path, data)


def documents_of(tmp_path: Path, data: str) -> list[Sample]:
    return [
        replace(sample, id="volume")
        for sample in lm_eval_tasks._samples(write(tmp_path, data) / "samples.jsonl").values()
    ]


def _volume() -> Media:
    return Media(path="a.nii", sha256="0" * 64, kind="volume", size=(4, 8, 8))


def test_a_folder_of_other_files_and_one_that_cannot_be_written(tmp_path: Path, data: str) -> None:
    folder = tmp_path / "out" / "vqa_rad"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("")
    with pytest.raises(SpecError, match="holds files that are not of an export; name another folder"):
        write(tmp_path, data)
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be written: Not a directory; name another folder"):
        write_tasks(("vqa_rad",), (data,), tmp_path / "file", tmp_path / "cache")
    write_tasks(("vqa_rad",), (data,), tmp_path / "again", tmp_path / "cache")
    write_tasks(("vqa_rad",), (data,), tmp_path / "again", tmp_path / "cache")


def test_a_task_that_changed_since_is_refused(tmp_path: Path, data: str) -> None:
    folder = write(tmp_path, data)
    record = json.loads((folder / "export.json").read_text())
    (folder / "export.json").write_text(json.dumps(record | {"digest": "0" * 64}))
    with pytest.raises(SpecError, match="task vqa_rad changed since it was exported; `harness export lm-eval-tasks`"):
        _ = ExportedTask(folder).task


def test_a_task_of_the_users_own_is_found_again_by_its_file(tmp_path: Path, data: str) -> None:
    catalog, names = look_up(("vqa_rad",))
    (task,), _ = catalog.resolve(names)
    file = tmp_path / "mine.yaml"
    file.write_text(task.file.read_text().replace("task: vqa_rad", "task: mine-own\ndataset: vqa_rad"))
    write_tasks((str(file),), (data,), tmp_path / "out", tmp_path / "cache")
    assert ExportedTask(tmp_path / "out" / "mine_own").task.task == "mine-own"


def test_the_command_says_how_to_run_what_it_wrote(tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    command = ["export", "lm-eval-tasks", "--tasks", "vqa_rad", "--data-root", data, "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == str(tmp_path / "out")
    assert "medground_vqa_rad: 6 samples, with images: a multimodal model class of lm-eval is needed" in result.stderr
    assert "--tasks medground_vqa_rad --model ..." in " ".join(result.stderr.split())


@pytest.mark.slow
def test_lm_eval_itself_runs_the_folder_and_gets_our_scores(
    tmp_path: Path, data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    lm_eval = pytest.importorskip("lm_eval")
    base: Any = importlib.import_module("lm_eval.api.model").LM
    manager = importlib.import_module("lm_eval.tasks").TaskManager

    shown: list[Any] = []

    class Scripted(base):  # type: ignore[misc]
        MULTIMODAL = True

        def generate_until(self, requests: Any, **_: Any) -> list[str]:
            shown.extend(request.args[2]["visual"][0].size for request in requests)
            return [REPLIES[int(request.args[0].split("finding ")[1].split()[0])] for request in requests]

        def loglikelihood(self, requests: Any, **_: Any) -> Any:
            raise NotImplementedError

        def loglikelihood_rolling(self, requests: Any, **_: Any) -> Any:
            raise NotImplementedError

    write(tmp_path, data)
    results = lm_eval.simple_evaluate(
        model=Scripted(),
        tasks=["medground_vqa_rad"],
        task_manager=manager(include_path=str(tmp_path / "out"), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
    )
    expected = ours(tmp_path, data)
    found = results["results"]["medground_vqa_rad"]
    assert {label: found[f"{label},none"] for label in expected} == pytest.approx(expected, abs=1e-12)
    assert shown == [(8, 8)] * 6
    # Its log comes home: every row is matched by its sample id.
    file = tmp_path / "samples_medground_vqa_rad.jsonl"
    rows = [
        {"doc_id": one["doc_id"], "doc": one["doc"], "resps": one["resps"]}
        for one in results["samples"]["medground_vqa_rad"]
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = RunSpec(
        tasks=("vqa_rad",),
        model=f"predictions:{file}",
        model_args={"log": "lm-eval"},
        data_roots=(data,),
        out=tmp_path / "home",
        cache=tmp_path / "cache",
        ray="off",
    )
    assert evaluate(spec).notes == ["samples_medground_vqa_rad: 6 of 6 rows matched (6 by id)"]
