"""The environment in which the HTML pages of this package are rendered."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def environment() -> "Environment":
    """Return a jinja2 environment for the templates of this package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        # Autoescape, because answers, ids and messages come from models and releases; strict, so that a misspelt name
        # in a template raises instead of leaving a gap.
        loader=PackageLoader("harness", "reports/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
