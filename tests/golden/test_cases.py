"""Files and replies as people really have them: each folder of `cases/` holds data, commands, and what must come out.

A folder's `case.yaml` says where its expected values come from (`expects`) and lists `checks`. Folders with a number
were reported by users; those that begin with `near-` are their neighbours. Every command runs in this process, on a
copy of its folder, and exits with 0 if the check names no other code.
"""

import json
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from ruamel.yaml import YAML

from harness.cli import main
from harness.data.manifest import read_manifest
from harness.data.roots import data_roots
from harness.imaging.masks import area
from harness.paths import default_cache
from harness.tasks.catalog import index
from harness.tasks.prepare import prepare_task

CASES = Path(__file__).parent / "cases"
# What a check may hold; another key is a slip of the pen that would leave something unchecked.
KEYS = {
    "command",
    "stdin",
    "exit",
    "says",
    "never_says",
    "results",
    "counts",
    "findings",
    "samples",
    "askable",
    "voxels",
    "values",
    "statuses",
}


def _checks() -> list[Any]:
    found = []
    for file in sorted(CASES.glob("*/case.yaml")):
        case = YAML(typ="safe").load(file)
        assert set(case) == {"expects", "checks"}, f"{file}: expected the keys expects and checks, found {list(case)}"
        for number, check in enumerate(case["checks"], 1):
            assert set(check) <= KEYS, f"{file}: checks[{number - 1}]: unknown {sorted(set(check) - KEYS)}"
            assert set(check) - {"command", "stdin"}, f"{file}: checks[{number - 1}] expects nothing"
            found.append(pytest.param(file.parent, check, id=f"{file.parent.name}-{number}"))
    return found


@pytest.mark.parametrize(("folder", "check"), _checks())
def test_case_gives_what_is_right(
    folder: Path, check: Mapping[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / folder.name
    shutil.copytree(folder, work)
    monkeypatch.chdir(work)
    program, *words = shlex.split(check["command"])
    assert program == "harness"
    if words[0] in ("run", "score") and "--out" not in words:
        words += ["--out", "out"]
    stdin = None if "stdin" not in check else Path(check["stdin"]).read_text(encoding="utf-8")
    done: Result = CliRunner().invoke(main, words, input=stdin)
    said = done.stdout + done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == check.get("exit", 0), said
    for text in check.get("says", ()):
        assert text in said
    for text in check.get("never_says", ()):
        assert text not in said
    _expect_results(check, Path(words[words.index("--out") + 1]) if "--out" in words else None)
    _expect_lines(check, done.stdout)
    _expect_prepared(check, words)


def _expect_results(check: Mapping[str, Any], out: Path | None) -> None:
    if "results" not in check and "counts" not in check:
        return
    assert out is not None
    tasks = json.loads((out / "results.json").read_text(encoding="utf-8"))["tasks"]
    for task, counts in check.get("counts", {}).items():
        assert tasks[task]["counts"] == counts
    for task, wanted in check.get("results", {}).items():
        rows = {
            f"{row['name']} {row['protocol']}": row["value"]
            for row in tasks[task]["metrics"]
            if row["stratum"] is None and row["mean"] in ("micro", "pooled")
        }
        for name, value in wanted.items():
            found = rows[name if " " in name else f"{name} standard"]
            assert found == (None if value is None else pytest.approx(value, abs=1e-4)), (task, name)


def _expect_lines(check: Mapping[str, Any], stdout: str) -> None:
    lines = [json.loads(line) for line in stdout.splitlines()] if {"values", "statuses"} & set(check) else []
    if "values" in check:
        wanted = [None if value is None else pytest.approx(value, abs=1e-4) for value in check["values"]]
        assert [line["value"] for line in lines] == wanted
    if "statuses" in check:
        assert [line["status"] for line in lines] == check["statuses"]


def _expect_prepared(check: Mapping[str, Any], words: list[str]) -> None:
    tasks = {name for key in ("findings", "samples", "askable", "voxels") for name in check.get(key, {})}
    roots = [words[place + 1] for place, word in enumerate(words) if word == "--data-root"]
    paths = [Path(words[place + 1]) for place, word in enumerate(words) if word == "--task-path"]
    for name in sorted(tasks):
        specs, _ = index(paths).resolve([name])
        prepared = prepare_task(specs[0], data_roots(roots, default_cache()), default_cache(), lambda _: None)
        samples = list(read_manifest(prepared.manifest))
        report = json.loads(prepared.integrity.read_text(encoding="utf-8"))
        if name in check.get("findings", {}):
            assert Counter(report["counts"]) == Counter(check["findings"][name])
        if name in check.get("samples", {}):
            assert len(samples) == check["samples"][name]
        if name in check.get("askable", {}):
            assert sum(sample.defect is None for sample in samples) == check["askable"][name]
        for ending, voxels in check.get("voxels", {}).get(name, {}).items():
            found = [sample for sample in samples if sample.id.endswith(ending)]
            assert len(found) == 1, [sample.id for sample in samples]
            masks = [entity.mask for entity in found[0].target.entities]
            assert sum(area(mask) for mask in masks if mask is not None) == voxels
