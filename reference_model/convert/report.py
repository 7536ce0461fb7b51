"""Describes a conversion: the source of every part, and tensors left out, grown or randomly initialised."""

import math
from collections import defaultdict
from collections.abc import Iterator

from reference_model.config import VolumeModelConfig
from reference_model.convert.conversion import Conversion
from reference_model.convert.tensor_map import Move, alike
from reference_model.convert.writing import TensorEntry
from reference_model.modeling.build import special_tokens

DRAWN = "(drawn)"


def as_text(conversion: Conversion) -> str:
    """Return a table of sources and parts, then lines on tensors left out, grown and randomly initialised."""
    lines = [*_table(conversion), *_left(conversion), *_grown(conversion), *_tokenizers(conversion)]
    if conversion.plan.drawn:
        lines.append(f"drawn at random, for they are in no file: {', '.join(conversion.plan.drawn)}")
    return "\n".join(lines)


def _table(conversion: Conversion) -> Iterator[str]:
    rows: dict[tuple[str, str], list[TensorEntry]] = defaultdict(list)
    for entry in conversion.written:
        option = entry.made_of.option if isinstance(entry.made_of, Move) else DRAWN
        part, _, _ = entry.name.partition(".")
        rows[option, part].append(entry)
    yield _row("from", "part", "tensors", "parameters", "bytes")
    for (option, part), found in sorted(rows.items()):
        yield _row(option, part, *_sums(found))
    yield _row("", "all", *_sums(conversion.written))


def _row(*cells: object) -> str:
    texts = [cell if isinstance(cell, str) else f"{cell:,}" for cell in cells]
    return f"{texts[0]:<12} {texts[1]:<14} {texts[2]:>8} {texts[3]:>16} {texts[4]:>16}"


def _sums(found: list[TensorEntry] | tuple[TensorEntry, ...]) -> tuple[int, int, int]:
    """Return the numbers of tensors, parameters and bytes."""
    return len(found), sum(math.prod(entry.shape) for entry in found), sum(entry.size for entry in found)


def _left(conversion: Conversion) -> Iterator[str]:
    for (option, reason), names in conversion.plan.left.items():
        yield f"left out of {option}: {len(names)}, {reason}: {', '.join(alike(names))}"
    base = conversion.about.config.prompt.base_vocabulary
    own = special_tokens(conversion.about.config).names
    if names := [name for name in conversion.tokenizer.added if name not in own]:
        yield f"left out of {conversion.tokenizer.file.name}: tokens behind the first {base:,}: {', '.join(names)}"


def _tokenizers(conversion: Conversion) -> Iterator[str]:
    """Yield what M3D's scripts do to a tokenizer; MedPLIB's are the same for all its checkpoints."""
    config, found = conversion.about.config, conversion.tokenizer
    if not isinstance(config, VolumeModelConfig):
        return
    special = special_tokens(config)
    yield (
        f"{found.file.name}: {special.base:,} entries, {found.saved.start} begins a text, {found.saved.end} ends an "
        f"answer; {', '.join(special.names)} follow as ids {special.base} to {special.total - 1}"
    )
    yield f"{found.file.name}: no token for padding, which is masked; M3D pads with the unknown or the last token"
    if text := conversion.text_tokenizer:
        yield f"{text.file.name}: {config.clip.vocabulary:,} entries for M3D-CLIP's texts"


def _grown(conversion: Conversion) -> Iterator[str]:
    for name, move in conversion.plan.moves.items():
        if move.rows is not None:
            new = move.shape[0] - move.rows
            yield f"{name}: {move.rows:,} of {move.stored.shape[0]:,} rows kept, {new:,} new ones are their mean"
