"""The table of the pipelines; their code and data load when one is asked for."""

from collections.abc import Mapping
from importlib import import_module

from harness.data.construction.pipeline import Pipeline
from harness.data.construction.registered import PIPELINES
from harness.errors import SpecError, nearest


def find_pipeline(name: str, table: Mapping[str, tuple[str, str]] = PIPELINES) -> Pipeline:
    """Return the pipeline of this name.

    Args:
        name: A key of the table.
        table: Import path and one line about each pipeline by name.
    Raises:
        SpecError: There is none.
    """
    if name not in table:
        raise SpecError(f"construct {name}: expected one of {', '.join(table)}{nearest(name, tuple(table))}")
    module, _, attribute = table[name][0].partition(":")
    found = getattr(import_module(module), attribute)
    pipeline: Pipeline = found()
    return pipeline
