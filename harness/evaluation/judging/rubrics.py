"""Rubrics: versioned files that say what a judge is asked, and in which form it replies.

They lie in folders called `rubrics`, of the packaged tasks and of `--task-path`, which hold no task.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import SpecError, nearest
from harness.metrics.answers.judge_replies import REPLY_FORMS
from harness.records import Json
from harness.records.codec import digest
from harness.tasks.catalog import RUBRICS_FOLDER, task_folders
from harness.tasks.task_file import DECODING, NAME
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_mapping

KEYS = ("rubric", "version", "title", "reply", "shows", "decoding", "prompt")
# What the judge sees beside the words: nothing, or the images that the model was shown, overlays included.
SHOWS = ("words", "images")
# Names in braces; the braces of a JSON example hold quotes or brackets and are words of the prompt.
PLACE = re.compile(r"\{([a-z_]+)\}")
SAMPLE_NAMES = ("question", "reference")
ANSWER_NAMES = ("answer",)
PAIR_NAMES = ("first", "second")
# The form whose judge sees the answers of two runs.
PAIRWISE = "winner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric:
    """One rubric file, checked.

    Attributes:
        name, version, title: Its head; any change that can move a score raises the version.
        reply: Form of the replies, one of `REPLY_FORMS`.
        prompt: Template of the question to the judge; `{question}`, `{reference}` and `{answer}`, or `{first}` and
            `{second}` for two answers, are replaced by fenced blocks.
        decoding: Generation settings.
        shows: What the judge sees, one of `SHOWS`.
    """

    name: str
    version: int
    title: str
    reply: str
    prompt: str
    decoding: Mapping[str, Json] = field(default_factory=dict)
    shows: str = "words"

    @property
    def is_pairwise(self) -> bool:
        """Whether the judge sees the answers of two runs."""
        return self.reply == PAIRWISE

    @property
    def retries(self) -> bool:
        """Whether a reply that cannot be read is asked for once more."""
        return REPLY_FORMS[self.reply].retries

    def record(self) -> dict[str, Json]:
        """Return what is stored of it: name, version, form and the digest of all of it."""
        whole = [self.name, self.version, self.reply, self.prompt, dict(self.decoding), self.shows]
        return {
            "name": self.name,
            "version": self.version,
            "reply": self.reply,
            "retries": self.retries,
            "decoding": dict(self.decoding),
            "digest": digest(whole),
        }


def find_rubric(name: str, task_paths: Sequence[Path] = ()) -> Rubric:
    """Return a rubric by its name, or from the file that `name` names.

    Args:
        name: A name, or a path that ends in `.yaml`.
        task_paths: Folders with further rubrics in folders called `rubrics`; they come before the packaged ones.
    Raises:
        SpecError: There is none, or the file has faults, one line each.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise SpecError(f"--rubric {name}: no such file; expected a rubric file, or the name of a rubric")
        return load_rubric(path)
    files = rubric_files(task_paths)
    if name not in files:
        known = sorted(files)
        raise SpecError(
            f"--rubric {name}: no rubric has this name{nearest(name, known)}; there are {', '.join(known)}; "
            "a path to a rubric file works, too"
        )
    return load_rubric(files[name])


def rubric_files(task_paths: Sequence[Path] = ()) -> dict[str, Path]:
    """Return the rubric files by the name of the file; those of `task_paths` stand for packaged ones of their name."""
    folders = task_folders(task_paths)
    return {
        file.stem: file for folder in folders for file in sorted(folder.rglob(f"{RUBRICS_FOLDER}/*.yaml")) if file.stem
    }


def load_rubric(path: Path) -> Rubric:
    """Return the rubric of one file.

    Raises:
        SpecError: One line `file:line: key: what was expected, what was found` per fault.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    rubric = None if document is None else _read(Table(document, "", KEYS, faults), path)
    if faults.found or rubric is None:
        raise faults.error()
    return rubric


def _read(table: Table, path: Path) -> Rubric:
    name = table.text("rubric")
    if name and (not NAME.fullmatch(name) or "." in name):
        table.fault("rubric", f"expected letters, digits, - and _, got '{name}'")
    elif name and name != path.stem:
        table.fault("rubric", f"expected '{path.stem}', the name of its file, got '{name}'")
    reply = table.choice("reply", tuple(REPLY_FORMS))
    prompt = table.text("prompt")
    answers = PAIR_NAMES if reply == PAIRWISE else ANSWER_NAMES
    known = (*SAMPLE_NAMES, *answers)
    for place in dict.fromkeys(PLACE.findall(prompt)):
        if place not in known:
            hint = nearest(place, known) or f"; known: {', '.join(known)}"
            table.fault("prompt", f"unknown name {{{place}}}{hint}")
    for place in answers if prompt and table.says("reply", reply) else ():
        if f"{{{place}}}" not in prompt:
            table.fault("prompt", f"expected {{{place}}}: the judge does not see what it is to judge")
    settings = table.table("decoding", tuple(DECODING))
    return Rubric(
        name=name,
        version=table.integer("version"),
        title=table.text("title", name),
        reply=reply,
        prompt=prompt,
        shows=table.choice("shows", SHOWS, "words"),
        decoding={"max_new_tokens": 512, "temperature": 0.0}
        | {key: DECODING[key](settings, key) for key in settings.items if key in DECODING},
    )
