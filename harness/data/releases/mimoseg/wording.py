"""The templates of MIMOSeg's first two perspectives, from the authors' lists or our own, which are data files.

Perspectives III and IV were written by a language model, so there is no list for them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from harness.paths import packaged_folder

AUTHORS = "authors"
OURS = "ours"

Templates = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Wording:
    """A set of templates, in which `{}` stands for the list of labels.

    Attributes:
        name: `authors` or `ours`.
        source: Where they come from.
        lists: For each kind of question, its `instructions` and the answers for `none`, `one` or `several` labels.
    """

    name: str
    source: str
    lists: Mapping[str, Templates]

    def instruction(self, kind: str, names: Sequence[str], key: str) -> str | None:
        """Return the instruction; None if there is no list for this kind, or no label to name.

        Args:
            kind: `perspective_1`, `perspective_2_box` or `perspective_2_point`.
            names: The labels, in the order of the answer.
            key: The sample's id, which chooses the template.
        """
        return self._worded(kind, "instructions", listed(names), key) if names else None

    def answer(self, kind: str, names: Sequence[str], key: str) -> str | None:
        """Return the sentence that answers, with each label in its tags; None if there is no list or no label."""
        tagged = [f"<p>{name}<SEG></p>" for name in names]
        return self._worded(kind, "one" if len(names) == 1 else "several", listed(tagged), key) if names else None

    def refusal(self, kind: str, name: str, key: str) -> str | None:
        """Return the sentence that says that the label is not in the image; None if there is no list."""
        return self._worded(kind, "none", name, key)

    def _worded(self, kind: str, part: str, labels: str, key: str) -> str | None:
        templates = self.lists.get(kind, {}).get(part, ())
        return chosen(templates, f"{part}/{key}").replace("{}", labels) if templates else None


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`, as the paper's examples write lists."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def chosen(templates: Sequence[str], key: str) -> str:
    """Return the template that the sha256 of `key` chooses, which is the same on every machine."""
    # Not `hash`, which Python seeds anew in each process.
    return templates[int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % len(templates)]


@cache
def load_wording(name: str) -> Wording:
    """Return the templates of `authors` or `ours`."""
    text = (packaged_folder() / "mimoseg" / "wording" / f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    lists = {kind: templates for kind, templates in content.items() if isinstance(templates, dict)}
    return Wording(name=name, source=content["source"], lists=lists)
