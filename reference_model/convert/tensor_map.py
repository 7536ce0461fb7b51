"""Maps tensors of files to tensors of the model; a tensor on either side without a counterpart is an error."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from torch import nn

from harness.errors import DataError, together
from reference_model.convert.checkpoint_files import Checkpoint, Stored
from reference_model.convert.layouts import Rule, rule_for

# The tensors with one row per token; the parents of a model have fewer rows than it, or padding rows.
VOCABULARY = ("language.embed_tokens.weight", "language.lm_head.weight")
BESIDE = "no weights of a model"
_NUMBER = re.compile(r"\.\d+(?=\.)")
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checkpoint that a model is made of.

    Attributes:
        option: The command-line option that named the checkpoint, for messages.
        checkpoint: Its tensors.
        rules: The rules for its names.
        parts: Parts of the model that come from this source even if another one has them, too.
        base: The number of rows taken from a vocabulary whose size differs from the model's; None: that is an error.
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
        shape: The shape of the tensor in the model.
        rows: The number of rows taken, whose mean fills the others; None: the tensor is taken as it is.
        first: The first row of a tensor that holds several of the model; None: the tensor holds one.
        logarithm: Whether the model has the logarithm of the tensor.
        more: Tensors whose rows follow those of `stored`.
    """

    option: str
    stored: Stored
    shape: Shape
    rows: int | None = None
    first: int | None = None
    logarithm: bool = False
    more: tuple[Stored, ...] = ()


@dataclass(slots=True, kw_only=True)
class TensorMap:
    """The source and the destination of every tensor of a conversion.

    Attributes:
        moves: Tensors that come from files, by name in the model.
        drawn: Shapes of the tensors that no file holds and that are randomly initialised, by name in the model.
        left: Names of tensors that are left out, by option and reason.
    """

    moves: dict[str, Move] = field(default_factory=dict)
    drawn: dict[str, Shape] = field(default_factory=dict)
    left: dict[tuple[str, str], list[str]] = field(default_factory=dict)


def make_plan(
    model: nn.Module, sources: Sequence[Source], allowed: Collection[str], remedies: Mapping[str, str]
) -> TensorMap:
    """Return the destination of every tensor of some checkpoints.

    Args:
        model: A model on any device; only names and shapes are read.
        sources: The checkpoints.
        allowed: Patterns of the names of tensors in the model that may be initialised at random.
        remedies: What to do about missing tensors, by part of the model.

    Raises:
        DataError: Tensors are unexpected, missing, of another shape or stored twice; all of them are named.
    """
    planner = _Planner({name: tuple(value.shape) for name, value in model.state_dict().items()}, sources)
    for source in sources:
        planner.add(source)
    planner.draw(allowed)
    faults = [*planner.faults, *_undrawable(model, planner.plan.drawn), *_missing(planner.missing(), remedies)]
    if faults:
        raise together(faults, DataError)
    return planner.plan


class _Planner:
    """Assigns the tensors of one source after the other to tensors of the model."""

    def __init__(self, wanted: Mapping[str, Shape], sources: Sequence[Source]) -> None:
        self.wanted = wanted
        self.owners = {part: source.option for source in sources for part in source.parts}
        self.plan = TensorMap()
        self.faults: list[str] = []

    def add(self, source: Source) -> None:
        """Assign every tensor of a source, or list it as left out."""
        unexpected = [name for name in source.checkpoint.tensors if not self._placed(source, name)]
        self._join(source)
        for name in source.checkpoint.beside:
            self._leave(source, BESIDE, name)
        if unexpected:
            self.faults.append(
                f"{source.option}: expected the tensors of its layout, found {len(unexpected)} others: "
                f"{', '.join(alike(unexpected))}"
            )

    def draw(self, allowed: Collection[str]) -> None:
        """Mark tensors that no source has and a pattern allows as randomly initialised."""
        for name in self.missing():
            if any(fnmatchcase(name, pattern) for pattern in allowed):
                self.plan.drawn[name] = self.wanted[name]

    def missing(self) -> list[str]:
        """Return the names of the tensors of the model that the plan lacks."""
        return [name for name in self.wanted if name not in self.plan.moves and name not in self.plan.drawn]

    def _placed(self, source: Source, name: str) -> bool:
        """Assign one tensor or leave it out by a rule; return False if it is unexpected."""
        rule, _ = rule_for(name, source.rules) or (None, "")
        if rule is None:
            return False
        targets = rule.all_of(name)
        part = targets[0].partition(".")[0] if targets else ""
        owner = self.owners.get(part, source.option)
        if rule.reason or owner != source.option:
            self._leave(source, rule.reason or f"{part} comes from {owner}", name)
        elif not all(target in self.wanted for target in targets):
            return False
        elif rule.stacked:
            self._cut(source, name, targets)
        else:
            for target in targets:
                self._move(source, name, target, logarithm=rule.logarithm)
        return True

    def _leave(self, source: Source, reason: str, name: str) -> None:
        self.plan.left.setdefault((source.option, reason), []).append(name)

    def _cut(self, source: Source, name: str, targets: Sequence[str]) -> None:
        """Assign the rows of a tensor to several tensors of the model."""
        stored, first = source.checkpoint.tensors[name], 0
        whole = (sum(self.wanted[target][0] for target in targets), *self.wanted[targets[0]][1:])
        if stored.shape != whole:
            self.faults.append(
                f"{stored.file}: {name}: expected shape {whole} of {', '.join(targets)} together, found {stored.shape}"
            )
        for target in targets:
            shape = self.wanted[target]
            self._put(target, name, Move(option=source.option, stored=stored, shape=shape, first=first))
            first += shape[0]

    def _join(self, source: Source) -> None:
        """Assign tensors of a source whose rows make up one of the model, beside their own places."""
        found: dict[str, dict[int, str]] = {}
        for name in source.checkpoint.tensors:
            rule, _ = rule_for(name, source.rules) or (None, "")
            if rule and rule.joined and (matched := re.fullmatch(rule.pattern, name)):
                found.setdefault(rule.joined, {})[int(matched[1])] = name
        for target, numbered in found.items():
            names = [numbered[number] for number in sorted(numbered)]
            parts, shape = [source.checkpoint.tensors[name] for name in names], self.wanted[target]
            whole = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
            if whole != shape:
                self.faults.append(
                    f"{parts[0].file}: {', '.join(names)}: expected shape {shape} of {target} together, found {whole}"
                )
            self._put(target, names[0], Move(option=source.option, stored=parts[0], shape=shape, more=tuple(parts[1:])))

    def _move(self, source: Source, name: str, target: str, *, logarithm: bool) -> None:
        stored, shape = source.checkpoint.tensors[name], self.wanted[target]
        rows = None
        if target in VOCABULARY and source.base is not None and stored.shape != shape:
            # After the base entries a vocabulary may have padding or other tokens; those rows are not taken.
            rows = source.base if stored.shape[1:] == shape[1:] and stored.shape[0] >= source.base else None
        if stored.shape != shape and rows is None:
            self.faults.append(f"{stored.file}: {name}: expected shape {shape} of {target}, found {stored.shape}")
        move = Move(option=source.option, stored=stored, shape=shape, rows=rows, logarithm=logarithm)
        self._put(target, name, move)

    def _put(self, target: str, name: str, move: Move) -> None:
        if target in self.plan.moves:
            self.faults.append(f"{move.stored.file}: {name}: expected one tensor for {target}, found a second")
        self.plan.moves[target] = move


def _undrawable(model: nn.Module, names: Iterable[str]) -> Iterator[str]:
    """Yield an error for each tensor that torch cannot initialise, or that is useless at random values."""
    for name in names:
        if name.startswith("language.") or drawn_by(model, name) is None:
            yield f"--allow-missing: {name}: expected a layer that can be drawn at random; give a file that holds it"


def drawn_by(model: nn.Module, name: str) -> str | None:
    """Return the name of the outermost module around a tensor that initialises itself; None: there is no such module.

    Args:
        model: The model.
        name: The name of the tensor.
    """
    parts = name.split(".")
    owners = (".".join(parts[:end]) for end in range(1, len(parts)))
    return next((owner for owner in owners if hasattr(model.get_submodule(owner), "reset_parameters")), None)


def _missing(names: Iterable[str], remedies: Mapping[str, str]) -> Iterator[str]:
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(name.partition(".")[0], []).append(name)
    for part, found in parts.items():
        yield (
            f"{part}: expected a file for every tensor of the model, found none for {len(found)}: "
            f"{', '.join(alike(found))}; {remedies[part]}"
        )


def alike(names: Iterable[str]) -> list[str]:
    """Return names with `*` for the numbers in them, each with the number of tensors that it covers."""
    counts = Counter(_NUMBER.sub(".*", name) for name in names)
    return [name if count == 1 else f"{name} ({count})" for name, count in counts.items()]
