"""`harness doctor`: what is there, what is missing, what to do."""

import json
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import doctor, main
from harness.cli.doctor import InstallationCheck, examine, is_sound
from harness.errors import DataError
from harness.metrics.metric import Missing
from harness.text import wordnet_install


def named(findings: list[InstallationCheck]) -> dict[str, InstallationCheck]:
    return {finding.what: finding for finding in findings}


def test_this_machine_has_what_is_required(tmp_path: Path) -> None:
    findings = examine(tmp_path / "cache")
    lines = named(findings)
    assert is_sound(findings)
    assert {"python", "medground", "numpy", "ray [ray]", "devices", "cache", "disk"} <= lines.keys()
    assert all(line.remedy for line in findings if line.status != "ok")
    assert not any("[all]" in what or "[dev]" in what for what in lines)
    assert not (tmp_path / "cache").exists()


def test_a_required_package_is_wrong_where_absent_and_an_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["numpy>=1", "scipy>=99999", "no-such-package>=1", "no-such-extra>=1; extra == 'text'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _name: asked)
    lines = named(list(doctor._packages()))
    assert [lines[what].status for what in ("numpy", "scipy", "no-such-package", "no-such-extra [text]")] == [
        "ok",
        "wrong",
        "wrong",
        "missing",
    ]
    assert lines["scipy"].remedy == "pip install medground: >=99999 is asked for"
    assert lines["no-such-extra [text]"].remedy == "pip install 'medground[text]'"


def test_an_old_python_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 1))
    assert (doctor._python().status, doctor._python().remedy) == ("wrong", "use Python 3.11 or newer")


def test_what_one_can_do_without_is_missing_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor.wordnet, "find", lambda _cache: None)
    monkeypatch.setattr(doctor.meteor_java, "missing", lambda _parameters: Missing("no Java", "install Java"))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda _name: None)
    found = [doctor._word_net(tmp_path), doctor._java(), doctor._devices(), doctor._bert_score()]
    assert {finding.status for finding in found} == {"missing"}
    assert [finding.remedy for finding in found] == [
        "harness doctor --fix; until then METEOR goes by stems alone",
        "install Java",
        "pip install 'medground[models]'",
        "pip install 'medground[text,models]'",
    ]
    assert is_sound(found)


def test_the_cache_is_measured(tmp_path: Path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "file").write_bytes(bytes(3 << 20))
    assert doctor._cache(tmp_path).found == f"{tmp_path}, 3.0 MiB"


def test_a_cache_that_cannot_be_written_and_a_full_disk_are_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.os, "access", lambda _path, _mode: False)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _path: usage(9, 9, 1 << 20))
    cache, disk = doctor._cache(tmp_path / "deep" / "cache"), doctor._disk(tmp_path)
    assert (cache.status, disk.status) == ("wrong", "wrong")
    assert cache.remedy == f"make {tmp_path} writable, or name another folder in MEDGROUND_CACHE"
    assert disk.remedy == "make room, or move MEDGROUND_CACHE"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> list[InstallationCheck]:
    """What the command finds: two lines, both good."""
    lines = [
        InstallationCheck(what="python", status="ok", found="3.11"),
        InstallationCheck(what="java", status="missing", found="", remedy="install"),
    ]
    monkeypatch.setattr(doctor, "examine", lambda _cache: lines)
    return lines


def test_the_command_prints_a_table_or_json(few: list[InstallationCheck]) -> None:
    table = CliRunner().invoke(main, ["doctor"])
    assert table.exit_code == 0
    assert [line.split() for line in table.stdout.splitlines()] == [
        ["what", "status", "found", "remedy"],
        ["python", "ok", "3.11"],
        ["java", "missing", "install"],
    ]
    found = CliRunner().invoke(main, ["doctor", "--json"])
    assert json.loads(found.stdout) == doctor.to_json(few)
    few.append(InstallationCheck(what="numpy", status="wrong", found=""))
    assert CliRunner().invoke(main, ["doctor"]).exit_code == 2


@pytest.mark.usefixtures("few")
def test_fix_says_what_it_did_and_ends_with_2_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(_cache: Path, say: Any) -> None:
        say("WordNet: brought")

    monkeypatch.setattr(wordnet_install, "set_up", fixed)
    done = CliRunner().invoke(main, ["doctor", "--fix", "--json"])
    assert (done.exit_code, done.stderr) == (0, "WordNet: brought\n")
    assert len(json.loads(done.stdout)) == 2

    def failed(_cache: Path, _say: Any) -> None:
        raise DataError("WordNet could not be brought")

    monkeypatch.setattr(wordnet_install, "set_up", failed)
    done = CliRunner().invoke(main, ["doctor", "--fix"])
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "harness: WordNet could not be brought\n")
