"""One task file -> TaskSpec; all faults of the file are found in one reading."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from harness.errors import SpecError, nearest
from harness.imaging.windowing import MIN_MAX, Percentiles, Window
from harness.records import Json, RequestKind
from harness.tasks.fallbacks import ALL_SLICES, FALLBACKS, MOST_MARGIN
from harness.tasks.metric_section import read_headline, read_metrics
from harness.tasks.plug_ins import find_reader
from harness.tasks.prompt_template import ORACLE_NAMES, PROMPT_NAMES, template_faults
from harness.tasks.spec import GIVES, Gives, Paper, PlugIn, Release, TaskSpec, Terms
from harness.tasks.volume_recipes import RECIPES
from harness.tasks.wording import read_wording
from harness.tasks.yaml.mapping import Table, describe, one_of
from harness.tasks.yaml.nodes import Faults, Node, plain, read_mapping

if TYPE_CHECKING:
    from harness.data.releases.reader import Reader

KEYS = (
    *("include", "task", "dataset", "version", "title", "paper", "release", "asks", "continuation", "gives", "oracle"),
    *("grammar", "terms", "visual_prompt", "prompt", "decoding", "repeats", "fallbacks", "metrics", "headline"),
    *("strata", "cluster", "window", "open", "wording"),
)
# Each repetition is a row of the plan: more than a thousand are a slip of the hand.
MOST_REPEATS = 1_000
# Value of `asks` -> the values of `gives` that it allows.
GIVES_OF: Mapping[RequestKind, tuple[Gives, ...]] = {
    "generate": ("text", "choice", "masks", "grounded_text", "boxes"),
    "nll": ("choice",),
    "embed": ("retrieval",),
}
GRAMMARS: tuple[Literal["none", "mimo", "glamm", "mimo_or_glamm"], ...] = (
    "none",
    "mimo",
    "glamm",
    "mimo_or_glamm",
)
VISUAL_PROMPTS: tuple[Literal["none", "box", "points", "region", "from_sample"], ...] = (
    "none",
    "box",
    "points",
    "region",
    "from_sample",
)
CLUSTERS: tuple[Literal["patient", "study", "image"], ...] = ("patient", "study", "image")

DECODING: Mapping[str, Callable[[Table, str], Json]] = {
    "max_new_tokens": lambda table, key: table.integer(key),
    "min_new_tokens": lambda table, key: table.integer(key, least=0),
    "temperature": lambda table, key: table.number(key, least=0, most=10),
    "top_p": lambda table, key: table.number(key, least=0, most=1),
    "top_k": lambda table, key: table.integer(key),
    "num_beams": lambda table, key: table.integer(key),
    "repetition_penalty": lambda table, key: table.number(key, least=0.1, most=10),
}
# Temperature 0, so that a run can be repeated.
DECODING_DEFAULTS: Mapping[str, Json] = {"max_new_tokens": 1024, "temperature": 0.0}

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
STRATUM = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def load_task(path: Path) -> TaskSpec:
    """Return the task of one file, fully checked.

    Raises:
        SpecError: One line `file:line: key: what was expected, what was found` per fault.
    """
    faults = Faults()
    task = read_task(path, faults)
    if faults.found or task is None:
        raise faults.error()
    return task


def read_task(path: Path, faults: Faults) -> TaskSpec | None:
    """Return the task of one file, which must not be used if faults were added; None if there is nothing to read."""
    document = read_mapping(path, faults)
    if document is None:
        return None
    return _task(Table(_with_include(document, path, faults), "", KEYS, faults), path)


def _with_include(document: Node, path: Path, faults: Faults) -> Node:
    """Return the file's keys over those of the file it includes; the name of a task is never inherited."""
    if not isinstance(document.value, dict) or "include" not in document.value:
        return document
    name = Table(document, "", None, faults).text("include")
    own = {key: node for key, node in document.value.items() if key != "include"}
    included = _included(path, name, document.value["include"], faults) if name else {}
    inherited = {key: node for key, node in included.items() if key != "task"}
    # A key replaces the whole key of the included file, lists and nested keys too.
    return replace(document, value={**inherited, **own})


def below(folder: Path, name: str) -> Path | None:
    """Return the path `name` below `folder`, or None if it leads out of the folder, links followed."""
    root = folder.resolve()
    # No path can hold a null character, and `resolve` would raise an error of its own.
    if "\0" in name:
        return None
    return folder / name if (root / name).resolve().is_relative_to(root) else None


def _included(path: Path, name: str, at: Node, faults: Faults) -> dict[str, Node]:
    target = below(path.parent, name)
    if target is None:
        faults.add(at.file, at.line, f"include: '{name}' lies outside the task's folder; include only files below it")
        return {}
    if not target.is_file():
        faults.add(at.file, at.line, f"include: there is no file '{name}' below {path.parent}")
        return {}
    base = read_mapping(target, faults)
    if base is None or not isinstance(base.value, dict):
        return {}
    if "include" in base.value:
        # One level only, so that two files say all about a task.
        second = base.value["include"]
        faults.add(second.file, second.line, f"include: included by {path.name}, so it may not include another file")
    return {key: node for key, node in base.value.items() if key != "include"}


def _task(table: Table, path: Path) -> TaskSpec:
    task = table.text("task")
    if task and not NAME.fullmatch(task):
        table.fault("task", f"expected letters, digits, '_', '-' and '.', got '{task}'")
    asks = table.choice("asks", get_args(RequestKind), "generate")
    gives = _gives(table, asks)
    strata = _strata(table)
    metrics = read_metrics(table, path.parent)
    visual_prompt = table.choice("visual_prompt", VISUAL_PROMPTS, "none")
    prompt_names = tuple(dict.fromkeys((*PROMPT_NAMES, *strata, *(("caption",) if asks == "embed" else ()))))
    open_prompt, open_oracle = _open(table, gives, strata)
    terms = table.table("terms", ("redistribute", "external_api"))
    decoding = table.table("decoding", tuple(DECODING))
    oracle_names = (*ORACLE_NAMES, *PROMPT_NAMES, *strata)
    return TaskSpec(
        task=task,
        dataset=_dataset(table, task),
        version=table.integer("version"),
        title=table.text("title"),
        paper=_paper(table),
        release=_release(table, path.parent, strata),
        asks=asks,
        gives=gives,
        prompt=_template(table, "prompt", prompt_names),
        oracle=_template(table, "oracle", oracle_names) if asks == "generate" or "oracle" in table else "",
        open_prompt=open_prompt,
        open_oracle=open_oracle,
        wording=read_wording(table, path.parent, lambda template: template_faults(template, prompt_names)),
        continuation=_continuation(table, asks),
        grammar=table.choice("grammar", GRAMMARS, "none"),
        terms=Terms(redistribute=terms.flag("redistribute", False), external_api=terms.flag("external_api", False)),
        visual_prompt=visual_prompt,
        decoding={**DECODING_DEFAULTS, **{key: DECODING[key](decoding, key) for key in DECODING if key in decoding}},
        repeats=table.integer("repeats", 1, most=MOST_REPEATS),
        fallbacks=_fallbacks(table, visual_prompt, gives),
        metrics=metrics,
        headline=read_headline(table, metrics, strata),
        strata=strata,
        cluster=table.choice("cluster", CLUSTERS, "image"),
        window=_window(table),
        file=path,
    )


def _dataset(table: Table, task: str) -> str:
    dataset = table.text("dataset", task)
    if dataset != task and not NAME.fullmatch(dataset):
        table.fault("dataset", f"expected letters, digits, '_', '-' and '.', got '{dataset}'")
    return dataset


def _gives(table: Table, asks: RequestKind) -> Gives:
    gives = table.choice("gives", GIVES)
    if table.says("gives", gives) and table.means("asks", asks) and gives not in GIVES_OF[asks]:
        table.fault("gives", f"expected {one_of(GIVES_OF[asks])} where asks is '{asks}', got '{gives}'")
    return gives


def _strata(table: Table) -> tuple[str, ...]:
    strata = table.texts("strata", ())
    for key in strata:
        if not STRATUM.fullmatch(key):
            table.fault("strata", f"expected names of letters, digits and '_', got '{key}'")
    return strata


def _paper(table: Table) -> Paper:
    paper = table.table("paper", ("name", "venue", "url", "rows"))
    return Paper(
        name=paper.text("name", ""),
        venue=paper.text("venue", ""),
        url=paper.text("url", ""),
        rows=paper.texts("rows", ()),
    )


def _release(table: Table, folder: Path, strata: Sequence[str]) -> Release:
    if "release" not in table:
        table.fault("release", "required key is missing")
        return Release(reader="")
    release = table.table("release", ("reader", "split", "subset", "where", "options", "samples"))
    where = release.table("where", None)
    reader, plug_in = _reader(release, folder)
    options = _options(release, reader)
    _check_strata(table, strata, _fitted(reader, options))
    return Release(
        reader=release.text("reader", ""),
        plug_in=plug_in,
        split=release.text("split", "test"),
        subset=_subset(release, reader),
        where={key: where.text_or_texts(key) for key in where.items},
        options=options,
        samples=release.integer("samples") if "samples" in release else None,
    )


def _reader(release: Table, folder: Path) -> "tuple[Reader | None, PlugIn | None]":
    name = release.text("reader")
    if not name:
        return None, None
    try:
        return find_reader(name, folder)
    except SpecError as error:
        release.fault("reader", str(error))
        return None, None


def _check_strata(table: Table, strata: Sequence[str], reader: "Reader | None") -> None:
    for key in strata:
        if reader is not None and key not in reader.strata:
            known = ", ".join(reader.strata)
            table.fault(
                "strata", f"reader '{reader.name}' does not tell '{key}'{nearest(key, reader.strata)}, only {known}"
            )


def _subset(release: Table, reader: "Reader | None") -> str | None:
    if reader is not None and reader.subsets:
        return release.choice("subset", reader.subsets)
    if reader is not None and "subset" in release:
        release.fault("subset", f"reader '{reader.name}' has no subsets")
    return release.optional_text("subset")


def _options(release: Table, reader: "Reader | None") -> dict[str, Json]:
    options = release.table("options", None if reader is None else tuple(reader.options))
    if reader is None:
        return {}
    before = len(options.faults.found)
    found = {key: _option(options, key, reader) for key in options.items if key in reader.options}
    # Only if each is right by itself: the reader relies on that.
    if len(options.faults.found) == before:
        _check_together(options, found, reader)
    return found


def _fitted(reader: "Reader | None", options: Mapping[str, Json]) -> "Reader | None":
    """Return the reader with the strata that its options name; as it is if the options are at fault."""
    from harness.data.releases.reader import ReleaseRequest, option_fault

    # The reader relies on options that are each right by themselves.
    if reader is None or any(option_fault(reader.options[key], value) for key, value in options.items()):
        return reader
    try:
        return reader.fitted(ReleaseRequest(dataset="", split="", options=options))
    except SpecError:
        return reader


def _check_together(options: Table, found: Mapping[str, Json], reader: "Reader") -> None:
    """Add a fault if options that are each right by themselves do not fit together."""
    from harness.data.releases.reader import ReleaseRequest

    try:
        reader.fitted(ReleaseRequest(dataset="", split="", options=found))
    except SpecError as error:
        options.faults.add(options.node.file, options.node.line, f"{options.where}: {error}")


def _option(options: Table, key: str, reader: "Reader") -> Json:
    known = reader.options[key]
    if isinstance(known, tuple):
        return options.choice(key, known)
    value = plain(options.items[key])
    fault = known.fault(value)
    if fault:
        options.fault(key, fault)
    return value


def _open(table: Table, gives: Gives, strata: Sequence[str]) -> tuple[str, str]:
    """Return prompt and oracle for samples without options."""
    if "open" not in table:
        return "", ""
    if gives != "choice" and table.says("gives", gives):
        table.fault("open", f"only stands where gives is 'choice', which here is '{gives}'")
    given = table.table("open", ("prompt", "oracle"))
    names = (*PROMPT_NAMES, *strata)
    return _template(given, "prompt", names), _template(given, "oracle", (*ORACLE_NAMES, *names))


def _continuation(table: Table, asks: RequestKind) -> str | None:
    if asks == "nll":
        return _template(table, "continuation", ("option",))
    if "continuation" in table and table.means("asks", asks):
        table.fault("continuation", f"only stands where asks is 'nll', which here is '{asks}'")
    return None


def _template(table: Table, key: str, names: Sequence[str]) -> str:
    template = table.text(key)
    for message in template_faults(template, tuple(dict.fromkeys(names))):
        table.fault(key, message)
    return template


def _fallbacks(table: Table, visual_prompt: str, gives: Gives) -> dict[str, str | float]:
    """Return the value of each fallback, in the order of the file: of several for one kind the first counts."""
    found: dict[str, str | float] = {}
    for item in table.tables("fallbacks", tuple(FALLBACKS)):
        if len(item.items) != 1 and isinstance(item.node.value, dict):
            table.faults.add(
                item.node.file, item.node.line, f"{item.where}: expected one key, got {len(item.items)}; one entry each"
            )
        for name in item.items:
            if name not in FALLBACKS:
                continue
            row = FALLBACKS[name]
            if not row.suits(visual_prompt) and table.means("visual_prompt", visual_prompt):
                stands = "needs something shown" if row.kind == "text" else f"stands in for '{row.visual_prompt}'"
                item.fault(name, f"{stands}; here visual_prompt is '{visual_prompt}'")
            if row.kind == "text" and gives != "masks" and table.says("gives", gives):
                item.fault(name, f"without words a model can only be asked for masks; here gives is '{gives}'")
            if row.way == "crop" and gives == "boxes" and table.says("gives", gives):
                reason = "coordinates in a reply would be those of the crop"
                item.fault(name, f"cannot stand where gives is 'boxes': {reason}")
            if name in found:
                item.fault(name, "stands in the list twice")
            if row.way == "slices":
                found[name] = _slices(item, name, gives)
            elif row.options:
                found[name] = item.choice(name, row.options)
            else:
                found[name] = item.number(name, least=0, most=MOST_MARGIN)
    return found


def _slices(item: Table, name: str, gives: Gives) -> str | float:
    """Return the number of slices that replace a volume, `all`, or the name of a recipe."""
    node = item.items[name]
    if gives in ("boxes", "grounded_text"):
        item.fault(name, f"cannot stand where gives is '{gives}': answers to slices do not add up to one of a volume")
    if gives == "masks":
        recipes = [recipe.name for recipe in RECIPES.values() if recipe.stacks]
        if node.value in recipes:
            return str(node.value)
        if node.value != ALL_SLICES:
            known = "" if isinstance(node.value, int) else f" or one of {', '.join(recipes)}"
            item.fault(
                name,
                f"expected '{ALL_SLICES}'{known} where gives is 'masks', got {describe(node)}; masks need each slice",
            )
        return ALL_SLICES
    return item.choice(name, FALLBACKS[name].options) if isinstance(node.value, str) else item.integer(name)


def _window(table: Table) -> Window | None:
    """Return `[low, high]`, `min_max` or `{percentiles: [low, high]}`."""
    if "window" not in table:
        return None
    value = table.items["window"].value
    if isinstance(value, str):
        table.choice("window", ("min_max",))
        return MIN_MAX
    if not isinstance(value, dict):
        return _ordered(table, "window")
    found = _ordered(table.table("window", ("percentiles",)), "percentiles")
    if found[0] < 0 or found[1] > 100:
        table.fault("window", f"percentiles: expected numbers from 0 to 100, got [{found[0]:g}, {found[1]:g}]")
    return Percentiles(found)


def _ordered(table: Table, key: str) -> tuple[float, float]:
    low, high = table.numbers(key, 2)
    if low >= high:
        table.fault(key, f"expected low before high, got [{low:g}, {high:g}]")
    return low, high
