"""A task's data, prepared: which part of the release is read, and what is said about it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data import releases
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import Reader, ReleaseRequest
from harness.data.roots import DataRoots
from harness.errors import DataError, SpecError
from harness.records import Sample
from harness.tasks.prepare import prepare_release, prepare_task
from harness.tasks.spec import Headline, MetricUse, PlugIn, Release, TaskSpec


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    del integrity
    for number, kind in enumerate((files.root / "toy" / f"{request.split}.txt").read_text().split()):
        if kind in request.where.get("kind", (kind,)):
            yield f"line {number}", Sample(id=f"{request.dataset}/{request.split}/{number}", question=kind)


TOY = Reader(
    name="toy",
    version=1,
    folders=("toy",),
    strata=("kind",),
    splits=lambda root: tuple(path.stem for path in sorted((root / "toy").glob("*.txt"))),
    read=read,
    obtain="Write it.",
)
TASK = TaskSpec(
    task="toy_task",
    dataset="toys",
    version=1,
    title="T",
    release=Release(reader="toy", split="test", where={"kind": ("a",)}, samples=2),
    gives="text",
    prompt="{question}",
    metrics=(MetricUse(metric="vqa_accuracy"),),
    headline=Headline(metric="vqa_accuracy"),
)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A release with the kinds a, b, a in its test split and b in its train split."""
    monkeypatch.setattr(releases, "READERS", {"toy": TOY})
    (tmp_path / "data/toy").mkdir(parents=True)
    (tmp_path / "data/toy/test.txt").write_text("a b a")
    (tmp_path / "data/toy/train.txt").write_text("b")
    return tmp_path / "data"


def notices(task: TaskSpec, root: Path, *, kind: str = "real", split: str | None = None) -> tuple[int, list[str]]:
    said: list[str] = []
    roots = DataRoots(roots=(root,), kind=kind)
    prepared = prepare_task(task, roots, root.parent / "cache", said.append, split=split)
    return prepared.samples, said


def test_the_part_that_the_task_names_is_read_under_the_tasks_dataset(root: Path) -> None:
    assert notices(TASK, root) == (2, [])


def test_a_number_of_samples_other_than_the_tasks_is_said(root: Path) -> None:
    task = replace(TASK, release=replace(TASK.release, samples=1234))
    assert notices(task, root) == (2, ["toy_task: expected 1,234 samples of the release, found 2"])


def test_a_task_that_names_no_number_says_nothing(root: Path) -> None:
    assert notices(replace(TASK, release=replace(TASK.release, samples=None)), root) == (2, [])


def test_another_split_is_read_whole_and_has_no_number_to_keep(root: Path) -> None:
    assert notices(TASK, root, split="train") == (1, [])
    assert notices(TASK, root, split="test") == (3, [])


def test_a_release_is_read_by_the_tables_reader_or_there_is_an_error(root: Path) -> None:
    cache = root.parent / "cache"
    asked = {"dataset": "d", "window": None, "roots": [root], "cache": cache}
    seen: list[int] = []
    prepared = prepare_release(Release(reader="toy"), progress=seen.append, **asked)  # type: ignore[arg-type]
    assert (prepared.samples, seen) == (3, [1, 2, 3])
    with pytest.raises(SpecError, match=r"expected 'toy', got 'tyo' \(did you mean 'toy'\?\)"):
        prepare_release(Release(reader="tyo"), **asked)  # type: ignore[arg-type]


def test_a_reader_that_ends_the_program_is_an_error(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leaving(*_: object) -> Iterator[tuple[str, Sample]]:
        raise SystemExit(0)

    monkeypatch.setattr(releases, "READERS", {"toy": replace(TOY, read=leaving)})
    with pytest.raises(DataError, match=r"^the reader 'toy' ends the process: SystemExit: it calls sys.exit\(0\)$"):
        prepare_release(Release(reader="toy"), dataset="d", window=None, roots=[root], cache=root.parent / "cache")


class OwnError(Exception):
    """A class of a plug-in's own, whose words cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AssertionError("no"), "AssertionError: no"),
        (MemoryError(), "MemoryError: "),
        (KeyError("image"), "KeyError: 'image'"),
        (OwnError(), "OwnError: <its message cannot be read: __str__ raises ValueError>"),
        (GeneratorExit(), "GeneratorExit: "),
    ],
)
def test_whatever_a_reader_of_a_tasks_own_raises_is_one_line(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, words: str
) -> None:
    def failing(*_: object) -> Iterator[tuple[str, Sample]]:
        raise error

    monkeypatch.setattr("harness.tasks.prepare.load_reader", lambda *_: replace(TOY, read=failing))
    release = Release(reader="own.py:READER", plug_in=PlugIn(reference="own.py:READER", sha256="0" * 64))
    with pytest.raises(DataError) as caught:
        prepare_release(release, dataset="d", window=None, roots=[root], cache=root.parent / "cache")
    assert str(caught.value).startswith("the reader 'own.py:READER' failed at test_prepare.py:")
    assert str(caught.value).endswith(words)
