"""Which sample a file of a predictions folder answers, judged by its name.

The name of a file without its suffix is compared with the names of the images that are asked about, without regard to
letter case and Unicode form. A file may be named after

- an image, `patient_3/slice_07` or, if no other image ends so, `slice_07`; nnU-Net's channel `_0000` may be left out,
  and of `case_5/image.nii.gz` the folder is the name. The file then holds all labels, distinguished by their values;
- an image and a label: `liver/slice_07`, `slice_07/liver` or `slice_07_liver`. The file then is the mask of that label;
- a sample id, its slashes as folders or as `__`.

Folders such as `fold_0`, `predictions` or `imagesTs` are no part of a name.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from harness.data.releases.folders.file_names import READ_SUFFIXES, folded, is_hidden, split_suffix
from harness.errors import nearest
from harness.records import Sample

Parts = tuple[str, ...]

# Folders that say how masks were made and not of what.
_NEUTRAL = re.compile(
    r"(fold|crossval_results)[_-]?\d*|(images|labels)(tr|ts|val)?|(pred|prediction|mask|seg|segmentation|output|result)s?"
    r"|test|val|validation|postprocessed"
)
# nnU-Net's channel behind the name of a case.
_CHANNEL = re.compile(r"_\d{4}$")
# What programs put behind the name of an image to say that the file is its mask.
_ADDED = re.compile(r"[_-](pred|prediction|mask|seg|segmentation|labels?|dseg|out)$")
# Images with these names are identified by their folders.
_EACH = frozenset({"image", "img", "volume", "scan", "ct", "mr", "mri"})
# Names of masks of which each has a folder of its own.
_EACH_MASK = frozenset({"pred", "prediction", "mask", "seg", "segmentation", "label", "labels", "image"})
_JOINTS = ("_", "__", "-", "--", ".", ":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a file is named after.

    Attributes:
        question: As `question_of`.
        label: The label that the file is a mask of; None if it holds all of them.
    """

    question: str
    label: str | None = None


def question_of(sample: Sample) -> str:
    """Return what a file with all labels answers: the path of the image, or the id of a sample that names no label."""
    return sample.id if label_of(sample) is None else sample.media[0].path


def label_of(sample: Sample) -> str | None:
    """Return the label that the id of a sample ends with, behind a colon; None if the id holds none."""
    names = [entity.name for entity in sample.target.entities]
    return names[0] if len(names) == 1 and sample.id.endswith(f":{names[0]}") else None


@dataclass(slots=True)
class Names:
    """The names of all samples of a run."""

    _targets: dict[Parts, set[Target]] = field(default_factory=dict)

    def add(self, sample: Sample, texts: Iterable[str] = ()) -> None:
        """Note the names that a file may have to answer a sample.

        Args:
            sample: The sample, with the name of its target.
            texts: What else stands for its label in names of files.
        """
        dataset, _, rest = sample.id.partition("/")
        split, _, source = rest.partition("/")
        question, label = question_of(sample), label_of(sample)
        whole = _parts(PurePosixPath(sample.id.replace(":", "_") if label else sample.id))
        for name in (whole, _parts(PurePosixPath(sample.id)), *((joint.join(whole),) for joint in ("__", "--", "_"))):
            self._note(name, Target(question=question, label=label))
        base = source if label is None else source.removesuffix(f":{label}")
        for case in _cases(base):
            for name in (case, (folded(dataset), *case), (folded(dataset), folded(split), *case)):
                self._note(name, Target(question=question))
                for text in () if label is None else dict.fromkeys((label, *filter(None, texts))):
                    for with_label in _labelled(name, text):
                        self._note(with_label, Target(question=question, label=label))

    def _note(self, name: Parts, target: Target) -> None:
        self._targets.setdefault(name, set()).add(target)

    def of(self, path: str) -> list[Target]:
        """Return what a file is named after: nothing, one thing, or several if its name is ambiguous.

        Args:
            path: The file's path below the folder, with forward slashes.
        """
        parts = _parts(PurePosixPath(_without_suffix(path)))
        own = tuple(part for part in parts[:-1] if not _NEUTRAL.fullmatch(part)) + parts[-1:]
        plain = (*own[:-1], _ADDED.sub("", own[-1]))
        folder = own[:-1] if own[-1] in _EACH_MASK or path.lower().endswith(".dcm") else ()
        # The name as it stands counts first, since what seems added may be part of an image's name.
        found = next((self._targets[name] for name in (parts, own, plain, folder) if name in self._targets), set())
        return sorted(found, key=lambda target: (target.question, target.label or ""))

    def nearest(self, path: str) -> str:
        """Return ` (did you mean 'x'?)` for the name closest to that of a file; empty if none is close."""
        return nearest(folded(PurePosixPath(_without_suffix(path)).name), sorted({name[-1] for name in self._targets}))


def mask_files_below(folder: Path, suffixes: Iterable[str]) -> Iterator[str]:
    """Yield the paths of the files with one of the suffixes below a folder, sorted, without hidden ones."""
    known = tuple(suffixes)
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if path.lower().endswith(known) and not is_hidden(path) and file.is_file():
            yield path


def _parts(path: PurePosixPath) -> Parts:
    return tuple(folded(part) for part in path.parts)


def _without_suffix(path: str) -> str:
    stem, suffix = split_suffix(path)
    return stem if suffix.lower() in READ_SUFFIXES else path


def _cases(source: str) -> Iterator[Parts]:
    """Yield the names of an image, from its path in a sample id."""
    parts = _parts(PurePosixPath(_without_suffix(source)))
    own = tuple(part for part in parts[:-1] if not _NEUTRAL.fullmatch(part)) + parts[-1:]
    for stem in dict.fromkeys((own[-1], _CHANNEL.sub("", own[-1]))):
        yield (*own[:-1], stem)
        if own[:-1] and stem in _EACH:
            yield own[:-1]
            yield own[-2:-1]
        elif own[:-1]:
            yield (stem,)
    if parts != own:
        yield parts


def _labelled(name: Parts, label: str) -> Iterator[Parts]:
    """Yield the names of an image's mask of one label."""
    for text in dict.fromkeys((folded(label), re.sub(r"[\s/]+", "_", folded(label)))):
        yield (text, *name)
        yield (*name[:-1], text, name[-1])
        yield (*name, text)
        for joint in _JOINTS:
            yield (*name[:-1], f"{name[-1]}{joint}{text}")
