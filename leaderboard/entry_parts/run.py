"""What the files beside results.json say of a run: its command, versions, dates, and what its model takes and gives.

None of it enters a number or a rank, so what cannot be read, or is no sensible text, is only left out. A filed bundle
has none of these files.
"""

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.runs.directory import RunDirectory

MOST_BYTES = 4_000_000
MOST_TEXT = 300
MOST_COMMAND = 2_000
MOST_SESSIONS = 1_000  # lines of sessions.jsonl that are read
# An absolute path, also as the argument of a model (`reference:/home/me/model`) or a value (`path=~/model`), but no
# address (`http://host/v1`).
_ABSOLUTE = re.compile(r"(?:^|(?<=[=:,@]))(?!//)[/~][^,=:]*?([^/,=:]+)/*(?=$|[,=:])")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Facts about one run, each empty if unknown.

    Attributes:
        command: As it was typed, with of each absolute path its last part alone.
        versions: Such as `medground 0.1.0`.
        commit: Of the source.
        first, last: Days on which its first and last session began, ISO 8601.
        machine: Such as `x86_64, 16 CPUs, 1 GPU`.
        model_version: Version of the model by its adapter.
        takes, gives: Kinds of input and output of the model.
        volume: How volumes are shown to the model.
    """

    command: str = ""
    versions: tuple[str, ...] = ()
    commit: str = ""
    first: str = ""
    last: str = ""
    machine: str = ""
    model_version: str = ""
    takes: tuple[str, ...] = ()
    gives: tuple[str, ...] = ()
    volume: str = ""


def run_facts(folder: Path | None) -> RunFacts:
    """Return what the files of a run directory say; None as a folder, or one without these files, says nothing."""
    if folder is None:
        return RunFacts()
    directory = RunDirectory(folder)
    sessions = _sessions(directory.sessions_path)
    last = sessions[-1] if sessions else {}
    model = _mapping(_mapping(_load(directory.run_path)).get("model"))
    capabilities = _mapping(_mapping(_load(directory.cells_path)).get("capabilities"))
    packages = _mapping(last.get("packages"))
    hardware = _mapping(last.get("hardware"))
    volume = capabilities.get("volume")
    return RunFacts(
        command=_command(last.get("command")),
        versions=tuple(
            f"{name} {version}"
            for name, version in packages.items()
            if name in ("medground", "torch", "transformers") and _text(version)
        ),
        commit=_text(last.get("git"))[:12],
        first=_text(sessions[0].get("started"))[:10] if sessions else "",
        last=_text(last.get("started"))[:10],
        machine=_machine(hardware),
        model_version=_text(model.get("version")),
        takes=_texts(capabilities.get("takes")),
        gives=_texts(capabilities.get("gives")),
        volume=_text(json.dumps(volume, ensure_ascii=False)) if volume else "",
    )


def _load(path: Path) -> Any:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None


def _sessions(path: Path) -> list[Mapping[str, Any]]:
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return []
        lines = path.read_text(encoding="utf-8").splitlines()[:MOST_SESSIONS]
        return [found for line in lines if line and (found := _mapping(json.loads(line)))]
    except (OSError, ValueError, RecursionError):
        return []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    # Marks that turn the direction of text would make a line read as another.
    return value if isinstance(value, str) and len(value) <= MOST_TEXT and value.isprintable() else ""


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(text for item in value[:50] if (text := _text(item))) if isinstance(value, list) else ()


def _command(words: Any) -> str:
    """Return a command as typed; absolute paths name folders of somebody's machine, so only their ends are kept."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        return ""
    short = [_ABSOLUTE.sub(r"…/\1", word) for word in words]
    text = " ".join(
        word if shlex.quote(plain := word.replace("…", "")) == plain else shlex.quote(word) for word in short
    )
    return text if len(text) <= MOST_COMMAND and text.isprintable() else ""


def _machine(hardware: Mapping[str, Any]) -> str:
    words = [_text(hardware.get("machine"))]
    for key, name in (("cpus", "CPU"), ("gpus", "GPU")):
        count = hardware.get(key)
        if isinstance(count, int) and not isinstance(count, bool) and 0 < count < 10**6:
            words.append(f"{count} {name}{'' if count == 1 else 's'}")
    return ", ".join(filter(None, words))
