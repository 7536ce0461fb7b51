"""A check of this machine: everything that the harness can use, and what to do about each thing that is missing."""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from harness.metrics.reports import bert_encoder, meteor_java
from harness.records import Json
from harness.text import wordnet

# `missing`: the harness works without it, in part; `wrong`: it does not work.
Status = Literal["ok", "missing", "wrong"]

# As pyproject.toml requires it.
_PYTHON = (3, 11)
# Bytes; with less the disk counts as full.
_LEAST_FREE = 1 << 30
_GIB = 1 << 30
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallationCheck:
    """One line of the report.

    Attributes:
        what: Name of the thing.
        status: See `Status`.
        found: Version, place or size; empty if it is missing.
        remedy: What to do; empty if nothing needs to be done.
    """

    what: str
    status: Status
    found: str
    remedy: str = ""


def examine(cache_folder: Path) -> list[InstallationCheck]:
    """Return every line, in the order in which they are shown; nothing is written.

    Args:
        cache_folder: Folder of manifests, derived files and WordNet; it need not exist.
    """
    return [
        _python(),
        *_packages(),
        _devices(),
        _java(),
        _word_net(cache_folder),
        _bert_score(),
        _cache(cache_folder),
        _disk(cache_folder),
    ]


def is_sound(findings: Sequence[InstallationCheck]) -> bool:
    """Say whether everything that is required is there."""
    return all(finding.status != "wrong" for finding in findings)


def to_json(findings: Sequence[InstallationCheck]) -> list[dict[str, Json]]:
    """Return the lines as `harness doctor --json` writes them."""
    return [{"what": line.what, "status": line.status, "found": line.found, "remedy": line.remedy} for line in findings]


def _python() -> InstallationCheck:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] < _PYTHON:
        return InstallationCheck(what="python", status="wrong", found=found, remedy="use Python 3.11 or newer")
    return InstallationCheck(what="python", status="ok", found=found)


def _packages() -> Iterator[InstallationCheck]:
    """Yield the harness and every package that it or one of its extras names."""
    from packaging.requirements import Requirement

    yield InstallationCheck(what="medground", status="ok", found=metadata.version("medground"))
    for line in metadata.requires("medground") or ():
        requirement = Requirement(line)
        extra = _extra(requirement)
        if extra not in ("all", "dev"):  # `all` names no others, and `dev` is for work on the harness itself
            yield _package(requirement, extra)


def _extra(requirement: Any) -> str:
    """Return the first extra that requires a package; empty if the harness itself does."""
    extras: list[str] = metadata.metadata("medground").get_all("Provides-Extra") or []
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return ""
    return next((extra for extra in extras if requirement.marker.evaluate({"extra": extra})), "")


def _package(requirement: Any, extra: str) -> InstallationCheck:
    """Return the line of one package, whose version is compared with the required one."""
    what = f"{requirement.name} [{extra}]" if extra else requirement.name
    absent: Status = "missing" if extra else "wrong"
    install = f"pip install 'medground[{extra}]'" if extra else "pip install medground"
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return InstallationCheck(what=what, status=absent, found="", remedy=install)
    if not requirement.specifier.contains(version, prereleases=True):
        wanted = f"{install}: {requirement.specifier} is asked for"
        return InstallationCheck(what=what, status="wrong", found=version, remedy=wanted)
    return InstallationCheck(what=what, status="ok", found=version)


def _devices() -> InstallationCheck:
    """Return the devices on which torch can compute."""
    if importlib.util.find_spec("torch") is None:
        return InstallationCheck(what="devices", status="missing", found="", remedy="pip install 'medground[models]'")
    torch = importlib.import_module("torch")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return InstallationCheck(what="devices", status="ok", found=", ".join([f"{os.cpu_count()} CPUs", *gpus]))


def _java() -> InstallationCheck:
    """Return whether METEOR 1.5 can run, which needs Java and the archives of pycocoevalcap."""
    lacking = meteor_java.missing({})
    if lacking is not None:
        return InstallationCheck(
            what="java, for METEOR 1.5", status="missing", found=lacking.reason, remedy=lacking.remedy
        )
    return InstallationCheck(what="java, for METEOR 1.5", status="ok", found=meteor_java.java_version())


def _word_net(cache_folder: Path) -> InstallationCheck:
    place = wordnet.find(cache_folder)
    if place is None:
        remedy = "harness doctor --fix; until then METEOR goes by stems alone"
        return InstallationCheck(what="WordNet, for METEOR", status="missing", found="", remedy=remedy)
    found = f"{wordnet.identity(place)['wordnet']} at {place.path} ({place.origin})"
    return InstallationCheck(what="WordNet, for METEOR", status="ok", found=found)


def _bert_score() -> InstallationCheck:
    what = f"{bert_encoder.DEFAULT_MODEL}, for BERTScore"
    lacking = bert_encoder.missing({})
    if lacking is not None:
        return InstallationCheck(what=what, status="missing", found="", remedy=lacking.remedy)
    return InstallationCheck(what=what, status="ok", found="in the local hub cache")


def _cache(cache_folder: Path) -> InstallationCheck:
    """Return where the cache is and its size; a folder that cannot be written to is wrong."""
    existing = _nearest_folder(cache_folder)
    if not os.access(existing, os.W_OK):
        remedy = f"make {existing} writable, or name another folder in MEDGROUND_CACHE"
        return InstallationCheck(what="cache", status="wrong", found=str(cache_folder), remedy=remedy)
    size = sum(path.stat().st_size for path in cache_folder.rglob("*") if path.is_file() and not path.is_symlink())
    return InstallationCheck(what="cache", status="ok", found=f"{cache_folder}, {size / _MIB:.1f} MiB")


def _disk(cache_folder: Path) -> InstallationCheck:
    free = shutil.disk_usage(_nearest_folder(cache_folder)).free
    found = f"{free / _GIB:.1f} GiB free at the cache"
    if free < _LEAST_FREE:
        return InstallationCheck(what="disk", status="wrong", found=found, remedy="make room, or move MEDGROUND_CACHE")
    return InstallationCheck(what="disk", status="ok", found=found)


def _nearest_folder(path: Path) -> Path:
    """Return the path if it is a folder, else its nearest parent that exists."""
    return next(folder for folder in (path, *path.resolve().parents) if folder.is_dir())
