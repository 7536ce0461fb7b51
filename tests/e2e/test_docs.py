"""What the documentation shows runs as it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import REPOSITORY
from tests.support import own_data


def _commands(page: Path) -> list[list[str]]:
    """Return every indented `harness ...` command of a page, continued lines joined."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8"))
    found = re.findall(r"^(?:    )?(harness [^\n#|>]+)", text, flags=re.MULTILINE)
    return [shlex.split(command)[1:] for command in found]


def _example(page: Path, name: str) -> str:
    """Return the Python of a page whose first line is `# name`."""
    (found,) = re.findall(
        rf"```python\n(# {re.escape(name)}\n.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    return str(found)


def _headline(results: dict[str, Any], task: str) -> float:
    block = results["tasks"][task]
    assert block["counts"] == {"ok": block["wanted"]}
    return next(float(row["value"]) for row in block["metrics"] if row["metric"] == "dice" and row["mean"] == "macro")


def test_the_adapter_of_the_tutorial_runs_and_uses_its_box(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "docs" / "add-a-model.md"
    (tmp_path / "brightness.py").write_text(_example(page, "brightness.py"))
    monkeypatch.chdir(tmp_path)
    (shown,) = [words for words in _commands(page) if words[0] == "run"]
    result = command(*shown, "--out", "run", "--ray", "off")
    assert result.exit_code == 0, result.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert _headline(results, "samed2d_seg_box") > _headline(results, "samed2d_seg") > 0


def test_the_script_of_the_hand_in_page_writes_what_score_reads(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "write_answers.py").write_text(
        _example(repository / "docs" / "hand-in-predictions.md", "write_answers.py")
    )
    prepared = command("prepare", "samed2d_seg", "--data-root", "phantom", "--json")
    (task,) = json.loads(prepared.stdout)
    subprocess.run([sys.executable, "write_answers.py", task["manifest"], "answers.jsonl"], check=True)
    result = command(
        *("score", "--tasks", "samed2d_seg", "--predictions", "answers.jsonl"),
        *("--data-root", "phantom", "--out", "run", "--json"),
    )
    assert result.exit_code == 0, result.stderr
    assert 0 < _headline(json.loads(result.stdout), "samed2d_seg") < 1
    assert not (tmp_path / "run" / "problems.jsonl").exists()


def test_the_script_of_the_results_page_prints_headlines_and_means_by_stratum(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("majority", "random"):
        words = ("--model", f"baseline:{name}", "--data-root", "phantom", "--limit", 20, "--ray", "off")
        assert command("run", "--tasks", "vqa_rad", *words, "--out", name).exit_code == 0
    monkeypatch.setattr(sys, "argv", ["read_results.py", "majority", "random"])
    exec(_example(repository / "docs" / "results.md", "read_results.py"), {})
    printed = capsys.readouterr().out
    assert printed.count("vqa_accuracy") == 3
    assert re.search(r"closed +0\.\d+", printed)


def test_the_reader_of_twenty_lines_reads_and_its_task_gives_a_number(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "docs" / "your-own-questions.md"
    reader = _example(page, "our_reader.py")
    assert len([line for line in reader.splitlines()[1:] if line.strip()]) <= 20
    assert re.findall(r"^(?:from|import) (\S+)", reader, flags=re.MULTILINE) == ["json", "harness"]
    tasks = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for folder in ("my-tasks", "hospital/studies", "hospital/scans"):
        Path(folder).mkdir(parents=True)
    Path("my-tasks/our_reader.py").write_text(reader)
    Path("my-tasks/findings.yaml").write_text(next(task for task in tasks if "our_reader" in task))
    for image in ("a.png", "b.png"):
        Image.new("L", (8, 6)).save(f"hospital/scans/{image}")
    findings = [{"name": "a mass", "present": True}, {"name": "fluid", "present": False}]
    for number, image in enumerate(("a.png", "b.png")):
        study = {"id": f"s{number}", "image": image, "patient": f"p{number}", "findings": findings}
        Path(f"hospital/studies/s{number}.json").write_text(json.dumps(study))
    shown = [words for words in _commands(page) if "my-tasks/findings.yaml" in words]
    assert [words[0] for words in shown] == ["validate", "run"]
    assert command(*shown[0]).exit_code == 0
    Path("hospital/scans/b.png").unlink()
    result = command(*shown[1], "--out", "run", "--ray", "off", "--max-failures", "100%")
    assert result.exit_code == 0, result.stderr
    block = json.loads(Path("run/results.json").read_text())["tasks"]["findings"]
    # The image that is not there costs its two samples, and is counted.
    assert (block["wanted"], block["counts"]) == (4, {"data_error": 2, "ok": 2})


def test_the_task_of_the_page_on_own_questions_is_valid(
    command: Any, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = repository / "docs" / "your-own-questions.md"
    (task,) = re.findall(r"```yaml\n(task: quiz.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    monkeypatch.chdir(tmp_path)
    own_data.write_csv(Path("hospital/quiz"))
    Path("quiz.yaml").write_text(task)
    result = command("validate", "quiz.yaml", "--data-root", "hospital")
    assert result.exit_code == 0, result.stdout
    assert "4 samples checked" in result.stdout


PAGES = sorted((REPOSITORY / "docs").glob("*.md"))


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *PAGES], ids=lambda page: page.name)
def test_every_command_that_a_page_shows_exists(command: Any, page: Path) -> None:
    for words in _commands(page):
        if words[0].startswith("-"):
            words = words[1:]  # an option of `harness` itself, before the command
        result = command(*words[: 2 if words[0] == "export" else 1], "--help")
        assert result.exit_code == 0, words
        # `harness chaos` hands on the options of `harness run`.
        known = result.stdout + (command("run", "--help").stdout if words[0] == "chaos" else "")
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert [option for option in options if option not in known] == []


def test_the_readme_shows_commands() -> None:
    assert len(_commands(REPOSITORY / "README.md")) >= 5


def _run_python(page: Path) -> dict[str, Any]:
    """Run the Python blocks of a page in their order in this process; return the names they define.

    Blocks that begin with `# name.py` are files; tests of their own run them as what they are.
    """
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        if not re.match(r"# \w+\.py\n", block):
            exec(compile(block, page.name, "exec"), names)
    return {name: value for name, value in names.items() if not name.startswith("__")}


def test_the_python_of_the_phantoms_page_writes_clean_and_spoilt_releases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    _run_python(REPOSITORY / "docs" / "phantoms.md")
    for root in ("data", "spoilt"):
        assert {path.name for path in (tmp_path / root).iterdir()} >= {"SAMed2Dv1", "vqa_rad", "MeCoVQA"}
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} == {"empty_mask", "missing_suffix"}


def test_the_grids_of_the_page_on_own_data_are_answers() -> None:
    names = _run_python(REPOSITORY / "docs" / "your-own-data.md")
    assert names["mask"].shape == (40, 200, 200)
    assert len(names["affine"]) == 16


def test_no_page_has_python_that_is_not_run() -> None:
    with_code = {page.name for page in PAGES if re.search(r"```python\n(?!# \w+\.py\n)", page.read_text("utf-8"))}
    assert with_code == {"phantoms.md", "your-own-data.md"}


@pytest.mark.parametrize(("what", "column"), [("tasks", "task"), ("metrics", "metric"), ("protocols", "protocol")])
def test_the_readme_names_everything_that_can_be_listed(command: Any, repository: Path, what: str, column: str) -> None:
    listed = {row[column] for row in json.loads(command("list", what, "--json").stdout)}
    pages = [repository / "README.md", *([repository / "docs" / "metrics.md"] if what == "protocols" else [])]
    named = {name for page in pages for name in re.findall(r"`([^`]+)`", page.read_text(encoding="utf-8"))}
    assert listed - named == set()


def test_the_documents_that_messages_name_are_there(repository: Path) -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (repository / "harness").rglob("*.py"))
    named = set(re.findall(r"docs/[\w-]+\.md", sources))
    assert named
    assert [name for name in sorted(named) if not (repository / name).is_file()] == []


def test_links_between_the_documents_lead_somewhere(repository: Path) -> None:
    pages = [*repository.glob("*.md"), *repository.glob("docs/*.md"), *repository.glob("tasks/*/README.md")]
    broken = [
        f"{page.relative_to(repository)}: {link}"
        for page in pages
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert broken == []
