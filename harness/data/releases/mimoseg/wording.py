"""The words of MIMOSeg's first two perspectives, which are templates: the authors' lists and our own, as data files.

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
    """The templates of one author, `{}` standing for the list of labels.

    Attributes:
        name: `authors` or `ours`.
        source: Where they come from.
        lists: Kind of question -> `instructions` and the answers to `none`, `one` or `several` labels.
    """

    name: str
    source: str
    lists: Mapping[str, Templates]

    def instruction(self, kind: str, names: Sequence[str], key: str) -> str | None:
        """Return what is asked; None where there is no list for this kind, or no label to name.

        Args:
            kind: `perspective_1`, `perspective_2_box` or `perspective_2_point`.
            names: The labels, in the order of the answer.
            key: Decides which template is taken: the sample's id.
        """
        return self._worded(kind, "instructions", listed(names), key) if names else None

    def answer(self, kind: str, names: Sequence[str], key: str) -> str | None:
        """Return the sentence that answers, each label in its tags; None where there is no list or no label."""
        tagged = [f"<p>{name}<SEG></p>" for name in names]
        return self._worded(kind, "one" if len(names) == 1 else "several", listed(tagged), key) if names else None

    def refusal(self, kind: str, name: str, key: str) -> str | None:
        """Return the sentence that says that the label is not in the picture; None where there is no list."""
        return self._worded(kind, "none", name, key)

    def _worded(self, kind: str, part: str, labels: str, key: str) -> str | None:
        templates = self.lists.get(kind, {}).get(part, ())
        return chosen(templates, f"{part}/{key}").replace("{}", labels) if templates else None


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b` or `a, b and c`, as the paper's examples write lists."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def chosen(templates: Sequence[str], key: str) -> str:
    """Return the template that the sha256 of `key` points at: the same on any machine."""
    return templates[int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % len(templates)]


@cache
def load_wording(name: str) -> Wording:
    """Return the templates of `authors` or `ours`."""
    text = (packaged_folder() / "mimoseg" / "wording" / f"{name}.json").read_text(encoding="utf-8")
    content = json.loads(text)
    lists = {kind: templates for kind, templates in content.items() if isinstance(templates, dict)}
    return Wording(name=name, source=content["source"], lists=lists)
