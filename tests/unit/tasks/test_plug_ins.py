"""Metrics and readers that a task brings along."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.tasks.plug_ins import load_metric, load_reader
from harness.tasks.task_file import load_task
from tests.unit.tasks.task_cases import changed, faults, write

pytestmark = pytest.mark.usefixtures("small_tables")
PLUG_IN = """\
from dataclasses import replace
from harness.metrics import METRICS
from harness.data.releases import READERS
ROW = replace(METRICS[0], name="mine", protocol="home")
READER = replace(READERS["plain"], name="own", strata=("modality", "class", "extra"))
NUMBER = 3
"""


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "package"
    write(package, PLUG_IN, "medground_test_plug_in.py")
    write(tmp_path, PLUG_IN, "own.py")
    monkeypatch.syspath_prepend(package)
    return tmp_path


@pytest.mark.parametrize("reference", ["own.py:ROW", "medground_test_plug_in:ROW"])
@pytest.mark.usefixtures("own_code")
def test_a_task_may_bring_its_own_metric(tmp_path: Path, reference: str) -> None:
    text = changed("{metric: dice, protocol: medplib}", f'{{metric: "{reference}"}}')
    text = text.replace("headline: {metric: dice", f'headline: {{metric: "{reference}"')
    task = load_task(write(tmp_path, text))
    use = task.metrics[1]
    assert (use.metric, use.protocol) == ("mine", "home")
    assert use.plug_in is not None
    assert (use.plug_in.reference, len(use.plug_in.sha256)) == (reference, 64)
    assert (task.headline.metric, task.headline.protocol) == ("mine", "home")
    assert load_metric(use, task.folder).name == "mine"
    assert load_metric(task.metrics[0], task.folder).name == "dice"


@pytest.mark.usefixtures("own_code")
def test_the_digest_changes_with_the_code_of_a_plug_in(tmp_path: Path) -> None:
    path = write(tmp_path, changed("{metric: dice, protocol: medplib}", '{metric: "own.py:ROW"}'))
    before = load_task(path)
    write(tmp_path, PLUG_IN + "# edited\n", "own.py")
    assert load_task(path).digest != before.digest
    assert replace(load_task(path), file=Path("elsewhere")).digest == load_task(path).digest


@pytest.mark.usefixtures("own_code")
def test_a_task_may_bring_its_own_reader(tmp_path: Path) -> None:
    text = changed("reader: plain", 'reader: "own.py:READER"').replace("[modality, class]", "[modality, extra]")
    task = load_task(write(tmp_path, text))
    assert task.release.plug_in is not None
    assert load_reader(task.release, task.folder).name == "own"


def test_the_reader_of_the_table_is_loaded_by_name(tmp_path: Path) -> None:
    task = load_task(write(tmp_path))
    assert load_reader(task.release, task.folder).name == "plain"


@pytest.mark.parametrize(
    ("reference", "fault"),
    [
        ("own.py:GONE", "'own.py:GONE': own.py has no 'GONE'"),
        ("own.py:NUMBER", "'own.py:NUMBER': expected a harness.Metric, got int"),
        ("gone.py:ROW", "'gone.py:ROW': expected a Python file at {folder}/gone.py"),
        ("broken.py:ROW", "'broken.py:ROW': cannot import broken.py: ZeroDivisionError: division by zero"),
        ("leaving.py:ROW", "'leaving.py:ROW': cannot import leaving.py: SystemExit: it calls sys.exit(0)"),
        ("asserting.py:ROW", "'asserting.py:ROW': cannot import asserting.py: AssertionError: no GPU"),
        ("medground_leaving:ROW", "'medground_leaving:ROW': cannot import medground_leaving: SystemExit: it calls "
         "sys.exit(0)"),
        ("no_such_package.x:ROW", "'no_such_package.x:ROW': cannot import no_such_package.x: ModuleNotFoundError: "
         "No module named 'no_such_package'"),
        ("hollow:ROW", "'hollow:ROW': hollow has no 'ROW'"),
        ("sys:path", "'sys:path': sys is not a Python file; expected a module with one"),
    ],
)  # fmt: skip
def test_a_metric_that_cannot_be_loaded_is_a_fault(own_code: Path, reference: str, fault: str) -> None:
    write(own_code, "1 / 0\n", "broken.py")
    write(own_code, "raise SystemExit(0)\n", "leaving.py")
    write(own_code / "package", "raise SystemExit(0)\n", "medground_leaving.py")
    write(own_code, "assert False, 'no GPU'\n", "asserting.py")
    (own_code / "package" / "hollow").mkdir()
    path = write(own_code, changed("{metric: dice, protocol: medplib}", f'{{metric: "{reference}"}}'))
    assert faults(path) == [f"t.yaml:10: metrics[1].metric: {fault.format(folder=own_code)}"]


@pytest.mark.usefixtures("own_code")
def test_a_plug_in_has_one_protocol(tmp_path: Path) -> None:
    path = write(tmp_path, changed("{metric: dice, protocol: medplib}", '{metric: "own.py:ROW", protocol: x}'))
    assert faults(path) == ["t.yaml:10: metrics[1].protocol: expected 'home', got 'x'"]


@pytest.mark.usefixtures("own_code")
def test_an_object_that_is_not_a_reader_is_a_fault(tmp_path: Path) -> None:
    path = write(tmp_path, changed("reader: plain", 'reader: "own.py:NUMBER"'))
    assert faults(path) == ["t.yaml:4: release.reader: 'own.py:NUMBER': expected a harness.Reader, got int"]
