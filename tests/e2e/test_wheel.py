"""What is shipped works where nothing of the repository is: the wheel, in a bare environment."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network from the build backend that is installed here."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(repository)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = out.glob("*.whl")
    return found


def test_the_wheel_holds_every_file_of_the_packages_and_every_task(wheel: Path, repository: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {
        path.relative_to(repository).as_posix()
        for package in ("harness", "leaderboard", "reference_model")
        for path in (repository / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    tasks = {
        f"harness/task_files/{path.relative_to(repository / 'tasks').as_posix()}"
        for path in (repository / "tasks").rglob("*.yaml")
    }
    assert {"harness/reports/templates/report.html", "leaderboard/published/published.json"} <= packaged
    assert "harness/task_files/groups.yaml" in tasks
    assert sorted((packaged | tasks) - names) == []
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "harness",
        "leaderboard",
        "reference_model",
    }


def _install(wheel: Path, repository: Path, place: Path) -> Path:
    """Install the wheel and its core dependencies alone; return the folder of its commands."""
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    binaries = place / "bin"
    constraints = ["-c", str(repository / "constraints.txt")]
    if uv := shutil.which("uv"):
        install = [uv, "pip", "install", "--quiet", "--python", str(binaries / "python")]
    else:
        install = [str(binaries / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *constraints, str(wheel)], check=True)
    return binaries


@pytest.mark.slow  # installs the core from a registry: 48 s on idle cores
def test_a_bare_environment_lists_tasks_and_scores_predictions(wheel: Path, repository: Path, tmp_path: Path) -> None:
    binaries = _install(wheel, repository, tmp_path / "environment")
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment["MEDGROUND_CACHE"] = str(tmp_path / "cache")

    def harness(*words: str) -> str:
        command = [str(binaries / "harness"), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=empty, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert {row["task"] for row in json.loads(harness("list", "tasks", "--json"))} >= {"vqa_rad", "samed2d_seg", "demo"}
    prepared = json.loads(harness("prepare", "samed2d_seg", "--data-root", "phantom", "--json"))
    samples = [json.loads(line) for line in Path(prepared[0]["manifest"]).read_text().splitlines()[1:]]
    lines = [
        {"sample_id": sample["id"], "masks": [entity["mask"] for entity in sample["target"]["entities"]]}
        for sample in samples
    ]
    (empty / "perfect.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    scored = harness(
        *("score", "--tasks", "samed2d_seg", "--predictions", "perfect.jsonl"),
        *("--data-root", "phantom", "--out", "run", "--json"),
    )
    row = json.loads(scored)["tasks"]["samed2d_seg"]["metrics"][0]
    assert (row["metric"], row["value"], row["n"]) == ("dice", 1.0, len(samples))
    assert (empty / "run" / "report.html").is_file()
