"""Models that installed packages offer as entry points: by name, and why one of them cannot be used."""

from collections.abc import Collection
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

ENTRY_POINTS = "medground.models"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlugIn:
    """A model that an installed package offers.

    Attributes:
        name: The name that `--model` takes.
        target: `module:attribute`.
        package: The distribution that offers it.
        fault: Why it cannot be used under its name; None if nothing speaks against it. Nothing of it is imported to
            find out, so importing it may still fail.
    """

    name: str
    target: str
    package: str
    fault: str | None = None


def plug_ins(taken: Collection[str]) -> list[PlugIn]:
    """Return every model that an installed package offers, also those that cannot be used.

    Args:
        taken: Names of the harness's own models, which come first: no package can pass for a baseline.
    """
    # A package that is found twice, as in a checkout that is installed as well, says the same twice.
    found = dict.fromkeys(
        PlugIn(name=entry.name, target=entry.value, package=entry.dist.name if entry.dist else "")
        for entry in metadata.entry_points(group=ENTRY_POINTS)
    )
    return [
        PlugIn(name=each.name, target=each.target, package=each.package, fault=_fault(each, list(found), taken))
        for each in found
    ]


def _fault(plug_in: PlugIn, others: Collection[PlugIn], taken: Collection[str]) -> str | None:
    if plug_in.name in taken:
        return "a model of the harness has this name"
    targets = {other.target for other in others if other.name == plug_in.name}
    if len(targets) > 1:
        names = " and ".join(sorted({other.package for other in others if other.name == plug_in.name}))
        return f"{names} offer a model of this name; uninstall one, or name a class: {' or '.join(sorted(targets))}"
    module, _, attribute = plug_in.target.partition(":")
    if not module or not attribute:
        return f"its entry point is '{plug_in.target}'; expected module:Class"
    top = module.partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    return None if spec is not None else f"there is no module '{top}'; install {plug_in.package or 'its package'} again"
