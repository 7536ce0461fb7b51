"""Reads recipes and stages from YAML: those that come with the package, and a user's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from harness.errors import SpecError, nearest
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_mapping
from reference_model.preset_files import load_preset, preset_names
from reference_model.training.data import MediaKind, SetSpec
from reference_model.training.recipe import (
    LOSSES,
    Lora,
    ObjectiveName,
    Precision,
    Recipe,
    Schedule,
    Stage,
    Start,
    media_of,
)

STAGES = Path(__file__).parents[1] / "stages"
RECIPE = "recipe.yaml"


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package."""
    return tuple(sorted(path.parent.name for path in STAGES.glob(f"*/{RECIPE}")))


def load_recipe(name: str) -> Recipe:
    """Return the recipe of this name or in this file; the files of its stages are its siblings.

    Raises:
        SpecError: There is no such recipe, or a file is not valid; every fault is named with its line.
    """
    return read_recipe(recipe_file(name))


def recipe_file(name: str) -> Path:
    """Return the file of the recipe of this name, or the file itself.

    Raises:
        SpecError: There is no such recipe.
    """
    if name in recipe_names():
        return STAGES / name / RECIPE
    if not Path(name).is_file():
        names = recipe_names()
        raise SpecError(f"--recipe: expected a file or one of {', '.join(names)}, got '{name}'{nearest(name, names)}")
    return Path(name)


def read_recipe(path: Path) -> Recipe:
    """Return the recipe in a file.

    Raises:
        SpecError: A file is not valid; every fault is named with its line.
    """
    faults = Faults()
    document = read_mapping(path, faults)
    if document is None:
        raise faults.error()
    known = ("recipe", "preset", "data_roots", "seed", "precision", "checkpointing", "stages")
    table = Table(document, "", known, faults)
    preset = table.choice("preset", preset_names())
    name, seed = table.text("recipe"), table.integer("seed", 42, least=0)  # 42 is MedPLIB's seed
    roots, precision = table.texts("data_roots", ()), table.choice("precision", get_args(Precision), "fp32")
    checkpointing = table.flag("checkpointing", False)
    config = load_preset(preset)
    stages = [_read_stage(path.parent / file, faults, media_of(config)) for file in table.texts("stages")]
    if faults.found:
        raise faults.error()
    return Recipe(
        name=name,
        config=config,
        data_roots=roots,
        seed=seed,
        precision=precision,
        checkpointing=checkpointing,
        stages=tuple(stage for stage in stages if stage is not None),
    )


def _read_stage(path: Path, faults: Faults, reads: MediaKind) -> Stage | None:
    document = read_mapping(path, faults)
    if document is None:
        return None
    table = Table(document, "", tuple("stage" if key == "number" else key for key in Stage.__slots__), faults)
    objective = table.choice("objective", get_args(ObjectiveName), "grounding")
    if ("steps" in table) == ("epochs" in table):
        table.fault("steps", "expected either steps or epochs")
    batch = table.integer("batch")
    rows = table.integer("rows", batch)
    if batch % rows:
        table.fault("rows", f"expected {rows} to divide batch, which is {batch}")
    for key, media, read in (
        ("region_parts", "image", "images with visual prompts"),
        ("augmentation", "volume", "volumes"),
    ):
        if key in table and reads != media:
            table.fault(key, f"expected only for a model that reads {read}, which this preset does not")
    losses = table.table("losses", LOSSES[reads, objective])
    return Stage(
        number=table.integer("stage", least=0),
        title=table.text("title"),
        objective=objective,
        start=_read_start(table),
        trains=table.texts("trains"),
        lora=_read_lora(table) if "lora" in table else None,
        data=tuple(_read_set(entry) for entry in table.tables("data", SetSpec.__slots__)),
        losses={name: losses.number(name, least=0.0, most=1e3) for name in losses.items},
        muon=table.texts("muon", ()),
        learning_rate=table.number("learning_rate", least=0.0, most=1.0),
        schedule=table.choice("schedule", get_args(Schedule), "linear"),
        warm_up=_number(table, "warm_up", 0.01, most=1.0),  # MedPLIB's share
        steps=table.integer("steps") if "steps" in table else None,
        epochs=table.integer("epochs") if "epochs" in table else None,
        batch=batch,
        rows=rows,
        questions=table.integer("questions", 1),
        answer_weight=_number(table, "answer_weight", 0.0, most=1.0),
        region_parts=table.flag("region_parts", False),
        augmentation=table.flag("augmentation", False),
        weight_decay=_number(table, "weight_decay", 0.0, most=1.0),
    )


def _read_start(table: Table) -> Start:
    start = table.table("start", ("from", "experts", "parts", "copies"))
    parts, copies = start.table("parts", None), start.table("copies", None)
    experts: tuple[float, ...] = ()
    if "experts" in start:
        value = start.items["experts"].value  # any number of entries; `handover` compares it with the preset
        experts = start.numbers("experts", len(value) if isinstance(value, Sequence) else 0)
    return Start(
        base=start.integer("from", least=0) if "from" in start else None,
        experts=tuple(int(number) for number in experts),
        parts={name: parts.integer(name, least=0) for name in parts.items},
        copies={name: copies.text(name) for name in copies.items},
    )


def _read_lora(table: Table) -> Lora:
    lora = table.table("lora", Lora.__slots__)
    return Lora(
        rank=lora.integer("rank"),
        alpha=lora.integer("alpha"),
        dropout=_number(lora, "dropout", 0.0, most=0.9),
        targets=lora.texts("targets"),
    )


def _read_set(entry: Table) -> SetSpec:
    where = entry.table("where", None)
    return SetSpec(
        task=entry.text("task"),
        split=entry.text("split", "train"),
        ratio=_number(entry, "ratio", 0.0, most=1e9) if "ratio" in entry else None,
        where={key: where.text_or_texts(key) for key in where.items},
    )


def _number(table: Table, key: str, default: float, *, most: float) -> float:
    return table.number(key, least=0.0, most=most) if key in table else default
