"""Maps tensors of files to tensors of the model; a tensor of either side without its counterpart is an error."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import nn

from harness.errors import DataError, together
from reference_model.convert.checkpoint_files import Checkpoint, Stored
from reference_model.convert.layouts import Rule, rule_for

# The tensors with a row for every token; a parent of MedPLIB has fewer rows than the model, or padded ones.
VOCABULARY = ("language.embed_tokens.weight", "language.lm_head.weight")
BESIDE = "no weights of a model"
_NUMBER = re.compile(r"\.\d+(?=\.)")
_REMEDIES = {
    "vision": "--clip brings them",
    "connector": "--projector brings them, --allow-missing 'connector.*' draws them at random",
    "region": "--allow-missing 'region.*' draws them at random",
    "language": "is the folder whole?",
    "projector": "--allow-missing 'projector.*' draws them at random",
    "pixel_encoder": "--sam-med2d brings them",
    "mask_decoder": "--sam-med2d brings them",
}

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checkpoint that a model is made of.

    Attributes:
        option: The option that named it, for messages.
        checkpoint: Its tensors.
        rules: The rules for its names.
        parts: Parts of the model that come from here even if another source has them, too.
        base: How many rows are taken of a vocabulary of another size than the model's; None: another size is an error.
    """

    option: str
    checkpoint: Checkpoint
    rules: Sequence[Rule]
    parts: tuple[str, ...] = ()
    base: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A tensor of a file that becomes one of the model.

    Attributes:
        option: The option of its source.
        stored: The tensor in the file.
        shape: The shape that it gets.
        rows: How many of its rows are taken, their mean filling the others; None: the tensor stays as it is.
    """

    option: str
    stored: Stored
    shape: Shape
    rows: int | None = None


@dataclass(slots=True, kw_only=True)
class TensorMap:
    """Where every tensor of a conversion comes from and goes to.

    Attributes:
        moves: Tensors that come from files, by name in the model.
        drawn: Shapes of the tensors that are in no file and are drawn at random, by name in the model.
        left: Names of tensors that are left out, by option and reason.
    """

    moves: dict[str, Move] = field(default_factory=dict)
    drawn: dict[str, Shape] = field(default_factory=dict)
    left: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def make_plan(model: nn.Module, sources: Sequence[Source], allowed: Collection[str]) -> TensorMap:
    """Return where every tensor of some checkpoints goes.

    Args:
        model: On any device; only names and shapes are read.
        sources: The checkpoints.
        allowed: Patterns of names in the model that need no file.

    Raises:
        DataError: Tensors are unexpected, missing, of another shape or stored twice; all of them are named.
    """
    planner = _Planner({name: tuple(value.shape) for name, value in model.state_dict().items()}, sources)
    for source in sources:
        planner.add(source)
    planner.draw(allowed)
    faults = [*planner.faults, *_undrawable(model, planner.plan.drawn), *_missing(planner.missing())]
    if faults:
        raise together(faults, DataError)
    return planner.plan


class _Planner:
    """Puts the tensors of one source after the other at their places."""

    def __init__(self, wanted: Mapping[str, Shape], sources: Sequence[Source]) -> None:
        self.wanted = wanted
        self.owners = {part: source.option for source in sources for part in source.parts}
        self.plan = TensorMap()
        self.faults: list[str] = []

    def add(self, source: Source) -> None:
        """Put every tensor of a source at its place, or among what is left out."""
        unexpected = [name for name in source.checkpoint.tensors if not self._placed(source, name)]
        for name in source.checkpoint.beside:
            self._leave(source, BESIDE, name)
        if unexpected:
            self.faults.append(
                f"{source.option}: expected the tensors of its layout, found {len(unexpected)} others: "
                f"{', '.join(alike(unexpected))}"
            )

    def draw(self, allowed: Collection[str]) -> None:
        """Leave to chance what no source has and a pattern allows."""
        for name in self.missing():
            if any(fnmatchcase(name, pattern) for pattern in allowed):
                self.plan.drawn[name] = self.wanted[name]

    def missing(self) -> list[str]:
        """Return the tensors of the model that have no place in the plan."""
        return [name for name in self.wanted if name not in self.plan.moves and name not in self.plan.drawn]

    def _placed(self, source: Source, name: str) -> bool:
        """Put one tensor at its place; return whether it has one."""
        rule, target = rule_for(name, source.rules) or (None, "")
        if rule is None:
            return False
        owner = self.owners.get(target.partition(".")[0], source.option)
        if rule.reason or owner != source.option:
            self._leave(source, rule.reason or f"{target.partition('.')[0]} comes from {owner}", name)
        elif target not in self.wanted:
            return False
        else:
            self._move(source, name, target)
        return True

    def _leave(self, source: Source, reason: str, name: str) -> None:
        self.plan.left.setdefault((source.option, reason), []).append(name)

    def _move(self, source: Source, name: str, target: str) -> None:
        stored, shape = source.checkpoint.tensors[name], self.wanted[target]
        rows = None
        if target in VOCABULARY and source.base is not None and stored.shape != shape:
            # A vocabulary may be padded behind its base, or have other tokens there; those rows are not taken.
            rows = source.base if stored.shape[1:] == shape[1:] and stored.shape[0] >= source.base else None
        if target in self.plan.moves:
            self.faults.append(f"{stored.file}: {name}: expected one tensor for {target}, found a second")
        elif stored.shape != shape and rows is None:
            self.faults.append(f"{stored.file}: {name}: expected shape {shape} of {target}, found {stored.shape}")
        self.plan.moves[target] = Move(option=source.option, stored=stored, shape=shape, rows=rows)


def _undrawable(model: nn.Module, names: Iterable[str]) -> Iterator[str]:
    """Yield an error for each tensor that torch has no rule to draw, or that is of no use if drawn."""
    for name in names:
        owner = model.get_submodule(name.rpartition(".")[0])
        if name.startswith("language.") or not hasattr(owner, "reset_parameters"):
            yield f"--allow-missing: {name}: expected a layer that can be drawn at random; give a file that holds it"


def _missing(names: Iterable[str]) -> Iterator[str]:
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.partition(".")[0], []).append(name)
    for part, found in parts.items():
        yield (
            f"{part}: expected a file for every tensor of the model, found none for {len(found)}: "
            f"{', '.join(alike(found))}; {_REMEDIES[part]}"
        )


def alike(names: Iterable[str]) -> list[str]:
    """Return names with `*` for the numbers in them, each with the number of tensors that it stands for."""
    counts = Counter(_NUMBER.sub(".*", name) for name in names)
    return [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]
