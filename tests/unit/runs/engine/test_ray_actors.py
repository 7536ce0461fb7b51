"""What the actors do without Ray: the library sends files below its roots, a node answers and cleans up."""

import hashlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.imaging.volumes import unpack
from harness.records import Answer, Media, MediaPart, Request
from harness.runs.engine import worker as worker_module
from harness.runs.engine.ray_actors import NODE_ROOTS, MediaLibrary, Node
from tests.unit.runs.engine.engine_samples import SETUP, Model, ask, echo


def test_the_library_sends_files_below_its_roots_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(b"pixels")
    (tmp_path / "secret").write_text("no")
    (root / "link").symlink_to(tmp_path / "secret")
    library = MediaLibrary((root,))
    assert library.read("a.png") == b"pixels"
    assert library.read("b.png") is None
    assert library.read("../secret") is None
    assert library.read("link") is None
    assert library.read(str(tmp_path / "secret")) is None


def test_the_library_sends_a_folder_of_slices_as_an_archive(tmp_path: Path) -> None:
    (tmp_path / "root/series").mkdir(parents=True)
    (tmp_path / "root/series/1.png").write_bytes(b"pixels")
    content = MediaLibrary((tmp_path / "root",)).read("series")
    assert content is not None
    assert unpack(content, tmp_path / "got")
    assert (tmp_path / "got/1.png").read_bytes() == b"pixels"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Node]:
    """Make a node that has no files of its own and asks a library below `driver`."""
    (tmp_path / "driver").mkdir()
    library = MediaLibrary((tmp_path / "driver",))
    handle = SimpleNamespace(read=SimpleNamespace(remote=library.read))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda found: found))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def make(model: Model) -> Node:
        monkeypatch.setattr(worker_module, "build", lambda _: model)
        return Node(SETUP, handle)

    return make


def test_a_node_that_cannot_load_returns_the_message(node: Callable[..., Node]) -> None:
    def load(_: str) -> None:
        raise OSError("no such weights")

    assert "load() failed: OSError: no such weights" in node(Model(echo, load)).load()["error"]


def test_a_node_keeps_what_the_driver_sends_until_it_is_closed(node: Callable[..., Node], tmp_path: Path) -> None:
    (tmp_path / "driver" / "a.txt").write_bytes(b"pixels")
    media = Media(path="a.txt", sha256=hashlib.sha256(b"pixels").hexdigest())

    def read(requests: Sequence[Request]) -> list[Answer]:
        return [Answer(text=Path(request.media[0].path).read_text()) for request in requests]

    made = node(Model(read))
    made.worker.load()
    assert not made.spool.exists()
    (finished,) = made.answer([ask("a", MediaPart(media=media)).request])
    assert json.loads(finished.line)["text"] == "pixels"
    assert made.spool.is_dir()
    made.close()
    assert not made.spool.exists()


def test_a_node_looks_into_its_own_roots_first(
    node: Callable[..., Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "a.txt").write_bytes(b"pixels")
    monkeypatch.setenv(NODE_ROOTS, str(tmp_path / "own"))
    media = Media(path="a.txt", sha256=hashlib.sha256(b"pixels").hexdigest())
    made = node(Model(lambda requests: [Answer(text=str(request.media[0].path)) for request in requests]))
    made.worker.load()
    (finished,) = made.answer([ask("a", MediaPart(media=media)).request])
    assert json.loads(finished.line)["text"] == str(tmp_path / "own" / "a.txt")
    assert not made.spool.exists()
