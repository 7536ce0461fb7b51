"""The labels of a folder: which values of its masks are asked about, and whether the labels fit the masks."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.errors import DataError, SpecError, listed
from harness.records import Json

# Names of the background in nnU-Net, labelme and highdicom, in any letter case and between underscores.
_BACKGROUND = frozenset({"background", "bg"})
# nnU-Net's name for unlabelled pixels, which count in no metric.
_IGNORE = "ignore"

# Values that programs write for the foreground of a binary mask.
_FOREGROUND = frozenset({1, 255, 65535})

_VALUES_SHOWN = 10  # in a message or a finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A label to ask about.

    Attributes:
        name: Its name.
        text: The text that `{label}` stands for in the masks' paths; empty if labels share a file.
        values: Its values in a label image, whose union it is; None if every value above 0 counts.
    """

    name: str
    text: str = ""
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """What each value of the masks means.

    Attributes:
        labels: The labels to ask about.
        source: Where they are named, for messages: `labels`, or a file of the release.
        ignored: Further values that may occur and are not asked about: background, and those of `labels_ignored`.
        void: Values of pixels that count in no metric.
    """

    labels: tuple[Label, ...]
    source: str = "labels"
    ignored: frozenset[int] = frozenset()
    void: frozenset[int] = frozenset()

    @property
    def by_value(self) -> bool:
        """Whether labels share files and differ in values, instead of each having files of its own."""
        return all(label.values is not None for label in self.labels)

    @property
    def named(self) -> dict[int, str]:
        """The name of the label of each value that is asked about; the first, if labels share the value."""
        found: dict[int, str] = {}
        for label in self.labels:
            for value in label.values or ():
                found.setdefault(value, label.name)
        return found

    def unnamed(self, values: Iterable[int]) -> list[int]:
        """Return the values without a meaning, ascending; none if every value above 0 counts."""
        return sorted(set(values) - self.named.keys() - self.ignored - self.void) if self.by_value else []

    def other_encoding(self, values: Collection[int]) -> str:
        """Return why a mask seems to hold the only label under another value, or an empty string.

        Merged folders hold masks of 0 and 1 beside masks of 0 and 255, whose label would seem absent.
        """
        unnamed = self.unnamed(values)
        if len(self.named) > 1 or len(values) != 1 or not unnamed or not {*self.named, *unnamed} <= _FOREGROUND:
            return ""
        return f"holds {unnamed[0]} and not {min(self.named)}"

    def one_bit_value(self) -> int:
        """Return the foreground of a 1-bit file: 255 or 1, whichever is named, else void, else ignored; else 255."""
        for known in (self.named, self.void, self.ignored):
            for value in (255, 1):
                if value in known:
                    return value
        return 255

    def options(self, *, ignored: Sequence[int], void: Sequence[int]) -> "LabelSet":
        """Return the labels with the values of the options `labels_ignored` and `ignore`.

        Raises:
            SpecError: A label names one of the values, or values are ignored although labels have none.
        """
        for option, values in (("labels_ignored", ignored), ("ignore", void)):
            for value in values:
                if value in self.named:
                    raise SpecError(
                        f"{option}: expected values that no label names, found {value} ({self.named[value]})"
                    )
        if ignored and not self.by_value:
            raise SpecError(
                "labels_ignored: expected labels with values beside it, found labels of which every value above 0 "
                "counts; to leave pixels out of every metric write their value in `ignore`"
            )
        return LabelSet(
            labels=self.labels, source=self.source, ignored=self.ignored | {*ignored}, void=self.void | {*void}
        )


def label_set(given: Mapping[str, str | tuple[int, ...] | None], source: str) -> LabelSet:
    """Return labels by name, without background and nnU-Net's `ignore`.

    Args:
        given: Name -> text in the masks' paths, or values; value 0 is background under any name.
        source: As in `LabelSet`.
    Raises:
        DataError: No label is left to ask about.
    """
    labels: list[Label] = []
    ignored: set[int] = set()
    void: set[int] = set()
    for name, meaning in given.items():
        values = meaning if isinstance(meaning, tuple) else ()
        if _plain(name) in _BACKGROUND or values == (0,):
            ignored.update(values)
        elif _plain(name) == _IGNORE and values:
            void.update(values)
        elif isinstance(meaning, str):
            labels.append(Label(name=name, text=meaning))
        else:
            labels.append(Label(name=name, values=meaning))
    if not labels:
        raise DataError(f"{source}: expected a label to ask about, found {', '.join(given) or 'none'}")
    return LabelSet(labels=tuple(labels), source=source, ignored=frozenset(ignored), void=frozenset(void))


def _plain(name: str) -> str:
    return name.strip().strip("_").casefold()


def labels_fault(value: Json) -> str:
    """Return what is wrong with labels, or an empty string if they are right."""
    if isinstance(value, list) and value and all(isinstance(name, str) and name for name in value):
        return ""
    if not isinstance(value, dict) or not value:
        return f"expected a list of texts, or label: value, found {value!r}"
    for name, found in value.items():
        numbers = found if isinstance(found, list) and found else [found]
        least = 0 if _plain(str(name)) in _BACKGROUND else 1
        # Not `isinstance`, because True is an int too.
        if not (isinstance(found, str) and found) and not all(type(one) is int and one >= least for one in numbers):
            return f"{name}: expected a whole number of at least 1, a list of them, or text, found {found!r}"
    return ""


def labels_in_json(value: Json, where: str) -> LabelSet:
    """Return the labels of a `labels.json`, which gives the value or values of each name.

    Args:
        value: Its content.
        where: Its path, for messages.
    Raises:
        DataError: It has another form, or no label is left to ask about.
    """
    fault = labels_fault(value)
    if fault or not isinstance(value, dict) or any(isinstance(meaning, str) for meaning in value.values()):
        raise DataError(f"{where}: {fault or 'expected label: value'}")
    return label_set({str(name): values_of(meaning) for name, meaning in value.items()}, where)


def values_fault(value: Json) -> str:
    """Return what is wrong with an option that lists values of masks, or an empty string if it is right."""
    if isinstance(value, list) and all(type(one) is int and one > 0 for one in value):
        return ""
    return f"expected a list of whole numbers of at least 1, found {value!r}"


def values_of(value: Json) -> tuple[int, ...]:
    """Return the values of a label, given as a number or a list of numbers."""
    return tuple(map(int, value)) if isinstance(value, list) else (int(value),)


def shown(values: Sequence[int]) -> str:
    """Return values for a message, the first ten and the number of others."""
    return listed(values, _VALUES_SHOWN)


@dataclass(slots=True)
class ValuesFound:
    """Which values the masks of a release hold, and whether the labels fit them.

    If the values of masks mean something else than the task says, every target is empty and an empty answer perfect. So
    labels that do not fit end the reading.
    """

    labels: LabelSet
    files: Counter[int] = field(default_factory=Counter)
    examples: dict[int, str] = field(default_factory=dict)
    masks: int = 0

    def add(self, path: str, values: Iterable[int]) -> None:
        """Note the values above 0 of a mask file."""
        self.masks += 1
        for value in values:
            self.files[value] += 1
            self.examples.setdefault(value, path)

    def add_elsewhere(self, values: Iterable[int]) -> None:
        """Note the values of a mask file that is not asked about: it may be the only one with a named value."""
        for value in values:
            if value in self.labels.named:
                self.files.setdefault(value, 0)

    @property
    def any_named(self) -> bool:
        """Whether a file holds a value that is named."""
        return not self.labels.named.keys().isdisjoint(self.files)

    def missing(self) -> list[int]:
        """Return the values that are named and in no file, if a file holds one that is not named; else none."""
        return sorted(self.labels.named.keys() - self.files.keys()) if self.labels.unnamed(self.files) else []

    def check(self, where: str) -> None:
        """Check that labels and masks fit.

        Raises:
            DataError: A named value is in no mask while masks hold a value without a meaning.
        """
        missing = self.missing()
        if not missing:
            return
        named, unnamed = self.labels.named, self.labels.unnamed(self.files)
        holds = "; ".join(
            f"{value} (in {self.files[value]:,}, such as {self.examples[value]})" for value in unnamed[:_VALUES_SHOWN]
        )
        names = ", ".join(f"{value} ({name})" for value, name in sorted(named.items())[:_VALUES_SHOWN])
        lost = ", ".join(f"{value} ({named[value]})" for value in missing[:_VALUES_SHOWN])
        advice = self._advice(missing, unnamed)
        raise DataError(
            f"{where}: labels and masks do not fit. `{self.labels.source}` names {names}; expected each in some of the "
            f"{self.masks:,} mask files, found {lost} in none, but values without a name: {holds}. Write the values "
            f"that the masks hold, for example `labels: {{{advice}}}`, or, if they are not to be asked about, "
            f"`labels_ignored: [{shown(unnamed)}]`; values of void pixels belong in `ignore`"
        )

    def _advice(self, missing: Sequence[int], unnamed: Sequence[int]) -> str:
        """Return labels that would fit: values that no mask holds are replaced by unnamed ones, in order."""
        instead = dict(zip(missing, unnamed, strict=False))
        texts = []
        for place, label in enumerate(self.labels.labels):
            values = [instead.get(value, value) for value in label.values or ()]
            if len(self.labels.labels) == 1 and len(missing) == len(label.values or ()):
                values = list(unnamed[:_VALUES_SHOWN])
            if place < _VALUES_SHOWN:
                texts.append(f"{label.name}: {values[0] if len(values) == 1 else values}")
        return ", ".join(texts)
