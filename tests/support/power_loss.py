"""What a folder may hold after a kill or a loss of power, at every single step of the writes that were recorded in it.

`recorded` follows each creation, write, truncation, sync, rename, removal and new folder below a folder, as the Python
process makes them. `Recording.state` then gives the files as they may be found if everything ended after step k:

- `killed`: everything that was written is there;
- `lost`: only what was synced is there: bytes by a sync of their file, names by a sync of their folder;
- `torn`: of what was not synced each write may be there, be there in part, be zeros or be lost, and names changed up to
  some moment, drawn by a seed;
- `named`: every name is there, and bytes that were not synced are zeros, as delayed allocation may leave them.
"""

import builtins
import contextlib
import hashlib
import io
import os
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDS = ("killed", "lost", "torn", "named")


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        kind: `create`, `folder`, `rename`, `remove`: of a name; `write`, `truncate`, `sync`: of a file;
            `sync folder`.
        path: The file or folder, relative to the root.
        to: New name of a rename.
        at: Offset of a write, or size of a truncation.
        data: Bytes of a write.
    """

    kind: str
    path: str
    to: str = ""
    at: int = 0
    data: bytes = b""


@dataclass(slots=True)
class _File:
    """Bytes of a file that are safe, and what was done to it since, as (offset, bytes) or (size, None)."""

    safe: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def content(self, changes: Sequence[tuple[int, bytes | None]]) -> bytes:
        found = bytearray(self.safe)
        for at, data in changes:
            if data is None:
                del found[at:]
                found.extend(bytes(at - len(found)))
            else:
                found.extend(bytes(max(0, at - len(found))))
                found[at : at + len(data)] = data
        return bytes(found)


@dataclass(slots=True)
class _Folder:
    """Names in a folder that are safe, each with the number of its node, and changes since, as (name, node or None)."""

    safe: dict[str, int] = field(default_factory=dict)
    since: list[tuple[tuple[str, int | None], ...]] = field(default_factory=list)

    def names(self, count: int) -> dict[str, int]:
        """Return the names after the first `count` changes."""
        found = dict(self.safe)
        for change in self.since[:count]:
            for name, node in change:
                if node is None:
                    found.pop(name, None)
                else:
                    found[name] = node
        return found


@dataclass
class Recording:
    """The steps below a folder.

    Attributes:
        root: The folder.
        before: The files that were there, by path relative to the root; None for a folder.
        steps: What was done.
    """

    root: Path
    before: Mapping[str, bytes | None]
    steps: list[Step] = field(default_factory=list)
    _nodes_of: list[_File | _Folder] = field(default_factory=list)
    _count: int = 0

    def state(self, count: int, end: str, seed: int = 0) -> dict[str, bytes | None]:
        """Return what may be found after the first `count` steps, by path; None for a folder."""
        nodes = self._nodes(count)
        chance = random.Random(f"{seed} {count} {end}")
        found: dict[str, bytes | None] = {}

        def walk(node: int, path: str) -> None:
            this = nodes[node]
            if isinstance(this, _File):
                found[path] = _bytes_after(this, end, chance)
                return
            if path:
                found[path] = None
            changes = len(this.since)
            kept = {"killed": changes, "named": changes, "lost": 0}.get(end)
            for name, below in sorted(this.names(chance.randint(0, changes) if kept is None else kept).items()):
                walk(below, f"{path}/{name}" if path else name)

        walk(0, "")
        return found

    def synced(self, count: int, path: str) -> bytes:
        """Return the bytes of a file, by its present name, that a sync has covered; the name itself may be lost."""
        nodes = self._nodes(count)
        node = 0
        for name in path.split("/"):
            folder = nodes[node]
            assert isinstance(folder, _Folder)
            names = folder.names(len(folder.since))
            if name not in names:
                return b""
            node = names[name]
        file = nodes[node]
        assert isinstance(file, _File)
        return file.safe

    def _nodes(self, count: int) -> list[_File | _Folder]:
        """Return every file and folder after the first `count` steps; it goes on from the last count, if it can."""
        if not self._nodes_of or count < self._count:
            self._nodes_of, self._count = [_Folder()], 0
            for path, content in sorted(self.before.items()):
                folder, name = self._place(path)
                folder.safe[name] = len(self._nodes_of)
                self._nodes_of.append(_Folder() if content is None else _File(safe=content))
        for step in self.steps[self._count : count]:
            self._take(step)
        self._count = count
        return self._nodes_of

    def _place(self, path: str) -> tuple[_Folder, str]:
        """Return the folder that holds a path, and the last part of the path."""
        *above, name = path.split("/")
        folder = self._nodes_of[0]
        for each in above:
            assert isinstance(folder, _Folder)
            folder = self._nodes_of[folder.names(len(folder.since))[each]]
        assert isinstance(folder, _Folder)
        return folder, name

    def _node(self, path: str) -> _File | _Folder:
        if path == ".":
            return self._nodes_of[0]
        folder, name = self._place(path)
        return self._nodes_of[folder.names(len(folder.since))[name]]

    def _take(self, step: Step) -> None:
        if step.kind in ("sync folder", "sync", "write", "truncate"):
            node = self._node(step.path)
            if isinstance(node, _Folder):
                node.safe, node.since = node.names(len(node.since)), []
            elif step.kind == "sync":
                node.safe, node.since = node.content(node.since), []
            else:
                node.since.append((step.at, step.data if step.kind == "write" else None))
            return
        folder, name = self._place(step.path)
        if step.kind == "remove":
            folder.since.append(((name, None),))
        elif step.kind == "rename":
            target, new = self._place(step.to)
            assert folder is target, "renamed into another folder"
            folder.since.append(((new, folder.names(len(folder.since))[name]), (name, None)))
        else:
            folder.since.append(((name, len(self._nodes_of)),))
            self._nodes_of.append(_File() if step.kind == "create" else _Folder())


def _bytes_after(file: _File, end: str, chance: random.Random) -> bytes:
    if end == "killed":
        return file.content(file.since)
    if end == "lost":
        return file.safe
    if end == "named":
        # The size may be that of the new content, and its bytes not: they read as zeros.
        whole = file.content(file.since)
        return file.safe if len(whole) <= len(file.safe) else file.safe + bytes(len(whole) - len(file.safe))
    changes: list[tuple[int, bytes | None]] = []
    for at, data in file.since:
        fate = chance.random()
        if fate < 0.5 or data is None:
            if fate < 0.75:
                changes.append((at, data))
        elif fate < 0.7:
            changes.append((at, data[: chance.randint(0, len(data))]))
        elif fate < 0.85:
            changes.append((at, bytes(len(data))))
    return file.content(changes)


def write_state(root: Path, state: Mapping[str, bytes | None]) -> None:
    """Make a folder hold this state and nothing else."""
    for entry in root.iterdir():
        shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for path, content in sorted(state.items()):
        if content is None:
            (root / path).mkdir()
        else:
            (root / path).write_bytes(content)


def read_state(root: Path) -> dict[str, bytes | None]:
    """Return the files and folders below a folder."""
    return {path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes() for path in root.rglob("*")}


def fingerprint(state: Mapping[str, bytes | None]) -> bytes:
    """Return a digest of a state."""
    seen = hashlib.sha256()
    for path, content in sorted(state.items()):
        seen.update(f"{path}\0{-1 if content is None else len(content)}\0".encode() + (content or b""))
    return seen.digest()


class _RecordedFile(io.FileIO):
    """A file opened for writing whose steps are recorded."""

    def __init__(self, recorder: "_Recorder", path: str, name: str, mode: str) -> None:
        self._recorder, self._path, self._appends = recorder, path, "a" in mode
        existed = Path(name).exists()
        super().__init__(name, mode)
        recorder.open_files[self.fileno()] = self
        if not existed:
            recorder.add(Step("create", path))
        elif "w" in mode:
            recorder.add(Step("truncate", path))

    def write(self, data: Any, /) -> int:
        at = os.fstat(self.fileno()).st_size if self._appends else self.tell()
        written = super().write(data)
        self._recorder.add(Step("write", self._path, at=at, data=bytes(data)[:written]))
        return written

    def truncate(self, size: int | None = None, /) -> int:
        size = self.tell() if size is None else size
        super().truncate(size)
        self._recorder.add(Step("truncate", self._path, at=size))
        return size

    def close(self) -> None:
        if not self.closed:
            self._recorder.open_files.pop(self.fileno(), None)
        super().close()

    @property
    def path(self) -> str:
        """Path relative to the root; that at which it was opened."""
        return self._path


@dataclass
class _Recorder:
    recording: Recording
    open_files: dict[int, _RecordedFile] = field(default_factory=dict)
    open_folders: dict[int, str] = field(default_factory=dict)

    def add(self, step: Step) -> None:
        self.recording.steps.append(step)

    def below(self, path: Any) -> str | None:
        """Return the path relative to the root; None if it is elsewhere, or no path."""
        if isinstance(path, int):
            return None
        whole, root = Path.cwd() / os.fspath(path), self.recording.root
        return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else None


@contextlib.contextmanager
def recorded(root: Path) -> Iterator[Recording]:
    """Record the steps of this process below a folder while the block runs; afterwards their sum is checked.

    Raises:
        AssertionError: The folder holds something else than the steps say: some write went another way.
    """
    root = root.resolve()
    recorder = _Recorder(Recording(root, read_state(root)))
    names = ("open", "close", "fsync", "replace", "rename", "mkdir", "unlink")
    real_open, of_os = io.open, {name: getattr(os, name) for name in names} | {"remove": os.remove}

    def open_file(file: Any, mode: str = "r", buffering: int = -1, *rest: Any, **named: Any) -> Any:
        path = recorder.below(file)
        if path is None or not set(mode) & set("wax+"):
            return real_open(file, mode, buffering, *rest, **named)
        raw = _RecordedFile(recorder, path, os.fspath(file), mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffer if "b" in mode else io.TextIOWrapper(buffer, *rest, **named)

    def open_folder(path: Any, flags: int, *rest: Any, **named: Any) -> int:
        number: int = of_os["open"](path, flags, *rest, **named)
        below = recorder.below(path)
        if below is not None:
            assert flags & os.O_DIRECTORY or not flags & (os.O_WRONLY | os.O_RDWR), f"{below}: opened around the store"
            recorder.open_folders[number] = below
        return number

    def close(number: int) -> None:
        recorder.open_folders.pop(number, None)
        of_os["close"](number)

    def fsync(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        if number in recorder.open_folders:
            recorder.add(Step("sync folder", recorder.open_folders[number]))
        elif number in recorder.open_files:
            recorder.add(Step("sync", recorder.open_files[number].path))
        else:
            of_os["fsync"](file)

    def rename(source: Any, target: Any, **named: Any) -> None:
        of_os["replace"](source, target, **named)
        if (path := recorder.below(source)) is not None:
            recorder.add(Step("rename", path, to=recorder.below(target) or ""))

    def mkdir(path: Any, *rest: Any, **named: Any) -> None:
        of_os["mkdir"](path, *rest, **named)
        if (below := recorder.below(path)) is not None:
            recorder.add(Step("folder", below))

    def unlink(path: Any, *rest: Any, **named: Any) -> None:
        of_os["unlink"](path, *rest, **named)
        if (below := recorder.below(path)) is not None:
            recorder.add(Step("remove", below))

    patched = {"open": open_folder, "close": close, "fsync": fsync, "replace": rename, "rename": rename}
    patched |= {"mkdir": mkdir, "unlink": unlink, "remove": unlink}
    try:
        io.open = builtins.open = open_file
        for name, function in patched.items():
            setattr(os, name, function)
        yield recorder.recording
    finally:
        io.open = builtins.open = real_open
        for name in patched:
            setattr(os, name, of_os[name])
    recording = recorder.recording
    found, known = read_state(root), recording.state(len(recording.steps), "killed")
    differing = sorted(path for path in {*found, *known} if found.get(path, b"?") != known.get(path, b"?"))
    assert not differing, f"written around the recorded calls: {differing}"
