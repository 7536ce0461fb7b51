"""The pipeline `term-dictionary`: a model defines the classes of M3D-Seg without naming them.

Source: Bai et al., arXiv:2404.00578, whose dictionary has 4,060 definitions of 223 terms, 3,872 of them distinct.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.checklist import item_checks
from harness.data.construction.checks.tokens import contains
from harness.data.construction.listing import file_digest
from harness.data.construction.m3d.seg_release import SegRelease
from harness.data.construction.outputs.release_files import write_json
from harness.data.construction.pipeline import (
    Ask,
    Candidate,
    Check,
    Draft,
    Inputs,
    Outcome,
    Pipeline,
    Read,
    ReadBack,
    ReleaseFolder,
    checked_by,
)
from harness.data.construction.prompts import PromptFile, read_prompt_file
from harness.data.construction.records import Item, Question, Rejection, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.seg import READER
from harness.data.releases.m3d.seg_layout import CLASSES, TERMS, find_layout, read_classes
from harness.text.normalisers import standard_normalise

ALL = "all"
LIMITS = Limits(question_words=60, answer_words=60)
# A word of a name with fewer letters, such as "of" or "left", gives nothing away.
LEAST_LETTERS = 5


@cache
def prompts() -> PromptFile:
    """Return the prompt of this pipeline."""
    return read_prompt_file(Path(__file__).parent / "term_dictionary.yaml")


def sources(inputs: Inputs) -> Iterator[Candidate]:
    """List the class names of all datasets, each once, in the order in which they are first listed."""
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache / "derived")
    layout = find_layout(files, Integrity())
    codes: dict[str, list[str]] = {}
    for code, names in sorted(read_classes(files, layout, Integrity()).items()):
        for name in names:
            if code not in codes.setdefault(name, []):
                codes[name].append(code)
    where = next((path for path in (f"{layout.folder}/{CLASSES}", CLASSES) if files.has(path)), "")
    for name, used in codes.items():
        yield Candidate(id=name, load=partial(_load, files, inputs, where, name, tuple(used)))


def _load(files: ReleaseFiles, inputs: Inputs, where: str, name: str, codes: tuple[str, ...]) -> Source:
    return Source(
        id=name,
        inputs={where: file_digest(files.path(where), inputs.cache)} if where else {},
        facts={"term": name, "codes": list(codes)},
        cluster=name,
        split=ALL,
        origin="M3D-Seg",
    )


def ask_definitions(draft: Draft) -> Iterator[Question]:
    """Ask for definitions of a term."""
    file = prompts()
    number = str(file.lists["number"][0])
    yield file.prompts["define"].ask("define", term=str(draft.source.facts["term"]), number=number)


def make_items(draft: Draft) -> Outcome:
    """Make an item of each definition in the reply."""
    reply, source = draft.replies.get("define"), draft.source
    if reply is None:
        return Outcome()
    start, end = reply.text.find("["), reply.text.rfind("]")
    try:
        values = json.loads(reply.text[start : end + 1]) if 0 <= start < end else None
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        detail = f"expected a JSON list of texts, found {reply.text.strip()[:80]!r}"
        return Outcome(rejections=[Rejection(reason="wrong_json", detail=detail, replies=("define",))])
    term = str(source.facts["term"])
    return Outcome(
        items=[
            Item(
                id=f"{source.id}#{number}",
                source=source,
                kind="definition",
                question=term,
                answer=" ".join(text.split()),
                replies=("define",),
            )
            for number, text in enumerate(values, 1)
        ]
    )


def does_not_name(item: Item) -> str:
    """Return the part of the term's name that a definition says."""
    words = [word for word in item.question.replace("_", " ").split() if len(word) >= LEAST_LETTERS]
    for name in (item.question.replace("_", " "), *words):
        if contains(item.answer, name):
            return f"says {name!r}"
    return ""


def fits_one_term() -> Callable[[Item], str]:
    """Return a check that remembers whose each definition is: one that fits two terms asks for neither."""
    owners: dict[str, str] = {}

    def fault(item: Item) -> str:
        owner = owners.setdefault(standard_normalise(item.answer), item.source.id)
        return "" if owner == item.source.id else f"defines {owner!r}, too"

    return fault


def view(item: Item) -> CheckedItem:
    """Return a definition as the checks see it: words about a term."""
    return CheckedItem(image=item.question, question=item.answer, answer=item.answer)


class TermWriter:
    """Writes `term_dictionary.json` into M3D-Seg as it is."""

    def __init__(self, release: ReleaseFolder) -> None:
        self._seg = SegRelease(release)
        self._terms: dict[str, list[str]] = {}

    def add(self, item: Item, split: str) -> str:
        """Remember one definition: the whole dictionary is less than a megabyte."""
        del split
        found = self._terms.setdefault(item.source.id, [])
        found.append(item.answer)
        return f"{self._seg.folder}/{TERMS}: {item.source.id}[{len(found) - 1}]"

    def close(self) -> None:
        """Write the dictionary, and put the release beside it that it belongs to."""
        write_json(self._seg.path / TERMS, self._terms)
        self._seg.link_whole()


def term_dictionary() -> Pipeline:
    """Return the pipeline."""
    unsuited = ("answer_not_in_options", "leaked_answer", "hallucinated_organ", "wrong_laterality", "entity_not_named")
    return Pipeline(
        name="term-dictionary",
        version=1,
        title="Term dictionary: definitions of the classes of M3D-Seg",
        paper="Bai et al., M3D, arXiv:2404.00578, section 3.3",
        reads=READER,
        sources=sources,
        steps=(
            Ask(name="define", about="A model defines the class without naming it.", build=ask_definitions),
            Read(name="read_definitions", about="The definitions are read.", apply=make_items),
            *item_checks(view, LIMITS, without=(*unsuited, "mask_missing", "mask_faulty", "mask_of_other_class")),
            checked_by("names_its_term", "The definition does not say the name.", does_not_name),
            Check(name="fits_two_terms", about="No other term has the same definition.", begin=fits_one_term),
        ),
        shares={ALL: 1.0},
        writer=TermWriter,
        read_back=(ReadBack(reader="harness.data.releases.m3d.seg:READER", splits=("test",), subset="definition"),),
        data={"m3d/term_dictionary": prompts().text},
        licences={"*": "As the model's; the classes are those of M3D-Seg"},
        not_reproduced=(
            "The authors' prompt, which is not printed; ours asks for 16 definitions of each class.",
            "Repeated definitions: `liver` has 60 entries in the authors' dictionary, of which 16 are distinct; all of "
            "ours are.",
        ),
    )
