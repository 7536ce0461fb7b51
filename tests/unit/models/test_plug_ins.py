"""Models that installed packages offer: broken ones are named and cost nothing else."""

import sys
from pathlib import Path

import pytest

from harness.cli.listing import rows
from harness.errors import ModelError, SpecError
from harness.models.plug_ins import plug_ins
from harness.models.resolve import BUILT_IN, find_factory, parse


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make two packages visible whose entry points are broken in all the ways that there are."""
    for package, lines in {
        "alpha": "lost = no_such_module:Model\ntorn = torn_plug_in:Model\nodd = nothing\nbaseline = json:JSONDecoder\n"
        "twice = json:JSONDecoder\nfine = json:JSONDecoder\n",
        "beta": "twice = json:JSONEncoder\nfine = json:JSONDecoder\n",
    }.items():
        folder = tmp_path / f"{package}-1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1\n")
        (folder / "entry_points.txt").write_text(f"[medground.models]\n{lines}")
    (tmp_path / "torn_plug_in.py").write_text("raise RuntimeError('half installed')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


FAULTS = {
    "lost": "there is no module 'no_such_module'; install alpha again",
    "odd": "its entry point is 'nothing'; expected module:Class",
    "baseline": "a model of the harness has this name",
    "twice": "alpha and beta offer a model of this name; uninstall one, or name a class: json:JSONDecoder or "
    "json:JSONEncoder",
}


@pytest.mark.usefixtures("install")
def test_what_is_wrong_with_a_plug_in_is_known_without_importing_it() -> None:
    found = {one.name: one.fault for one in plug_ins(BUILT_IN) if one.package in ("alpha", "beta")}
    assert found == {**FAULTS, "torn": None, "fine": None}
    assert "torn_plug_in" not in sys.modules


@pytest.mark.usefixtures("install")
def test_broken_plug_ins_are_listed_with_their_faults() -> None:
    listed = {row["model"]: row["what"] for row in rows("models", []) if row["from"] in ("alpha", "beta")}
    assert listed["lost"] == f"unusable: {FAULTS['lost']}"
    assert listed["fine"] == "json:JSONDecoder"


@pytest.mark.usefixtures("install")
def test_a_broken_plug_in_is_refused_and_no_other_model() -> None:
    for name in ("lost", "odd", "twice"):
        with pytest.raises(SpecError) as caught:
            parse(f"{name}:argument", {})
        assert str(caught.value) == f"--model {name}:argument: {FAULTS[name]}"
    with pytest.raises(ModelError, match="--model torn: importing it failed: RuntimeError: half installed"):
        find_factory(parse("torn", {}))
    assert parse("fine", {}).target == "json:JSONDecoder"
    assert parse("baseline:otsu", {}).target == BUILT_IN["baseline"][0]
