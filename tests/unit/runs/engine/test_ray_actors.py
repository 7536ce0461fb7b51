"""What the actors do without Ray: the library sends files below its roots, a node answers and cleans up."""

from pathlib import Path

from harness.imaging.volumes import unpack
from harness.runs.engine.ray_actors import MediaLibrary


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
