"""The table of recipes, and how a model comes to one: by `--model-args`, or by what its adapter declares."""

import re
from typing import Any

import pytest

from harness.errors import SpecError
from harness.models.resolve import ModelReference, build, capabilities_of, identity, parse
from harness.records import Answer, Capabilities, Request
from harness.tasks.volume_recipes import RECIPES, WINDOWS, recipe_argument, with_recipe

LOOKS = Capabilities(takes=frozenset({"text", "images"}), max_images=16)


class Model:
    """Takes images; declares what it is told to."""

    declared = LOOKS

    def __init__(self, *, size: int = 1) -> None:
        self.size = size

    def capabilities(self) -> Capabilities:
        return self.declared

    def load(self, device: str) -> None: ...

    def predict(self, requests: list[Request]) -> list[Answer]:
        raise AssertionError(f"{len(requests)} requests, expected none")


class Own(Model):
    """Has an argument `volume` of its own."""

    def __init__(self, *, volume: str) -> None:
        self.volume = volume


class Declares(Model):
    declared = Capabilities(takes=frozenset({"text", "volume", "images"}), max_images=16, volume="montage-16")


def reference(model: type, **arguments: Any) -> ModelReference:
    return parse(f"{__name__}:{model.__name__}", arguments)


@pytest.mark.parametrize("name", RECIPES)
def test_every_row_can_be_carried_out(name: str) -> None:
    recipe = RECIPES[name]
    assert recipe.name == name
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert recipe.id == f"{name}/{recipe.version}"
    assert len(recipe.windows) in (0, 1, 3)
    assert {*recipe.windows} <= {*WINDOWS}
    assert (recipe.number > 0) is (recipe.choice != "all")
    assert recipe.grid is None or recipe.number == recipe.grid[0] * recipe.grid[1]


def test_no_two_rows_show_the_same() -> None:
    rows = {str(recipe).partition("version")[2] for recipe in RECIPES.values()}
    assert len(rows) == len(RECIPES)


def test_windows_are_level_and_width_of_radiologists() -> None:
    widths = {name: ((high + low) / 2, high - low) for name, (low, high) in WINDOWS.items() if "medgemma" not in name}
    assert widths == {"lung": (-600, 1500), "soft-tissue": (50, 400), "bone": (400, 1800), "brain": (40, 80)}


def test_the_user_names_a_recipe_for_any_model_that_takes_images() -> None:
    chosen = reference(Model, volume="axial-10", size=3)
    adapter: Any = build(chosen)
    capabilities = capabilities_of(chosen, adapter)
    assert (adapter.size, capabilities.volume) == (3, "axial-10")
    # The recipe is part of the identity, and so of every key, with its version.
    found = identity(chosen, adapter, capabilities)
    assert (found["volume"], found["arguments"]) == ("axial-10/1", {"size": 3, "volume": "axial-10"})
    assert "volume" not in identity(reference(Model), adapter, LOOKS)


def test_what_the_user_names_comes_before_what_the_adapter_declares() -> None:
    for arguments, expected in (({}, "montage-16"), ({"volume": "axial-10"}, "axial-10")):
        chosen = reference(Declares, **arguments)
        assert capabilities_of(chosen, build(chosen)).volume == expected


def test_an_argument_of_the_model_s_own_stays_its_own() -> None:
    chosen = reference(Own, volume="loud")
    adapter: Any = build(chosen)
    assert (adapter.volume, capabilities_of(chosen, adapter).volume) == ("loud", None)
    assert recipe_argument(dict, {"volume": "axial-10"}) == {"volume": "axial-10"}  # a class without a signature


@pytest.mark.parametrize(
    ("takes", "declared", "arguments", "fault"),
    [
        ("images", None, {"volume": "axial-11"}, "--model-args volume: expected one of axial-10, "),
        ("images", None, {"volume": "axial-11"},
         "(`harness list recipes`), found 'axial-11' (did you mean 'axial-10'?)"),
        ("images", None, {"volume": 10}, "(`harness list recipes`), found 10"),
        ("images", "slices", {}, "--model m: capabilities().volume: expected one of axial-10, "),
        ("text", None, {"volume": "axial-10"},
         "--model-args volume: expected a model that takes image or images, found one that takes text"),
        ("image target", None, {"volume": "axial-10"},
         "--model-args volume: expected a model that looks at images, found one that takes target"),
    ],
)  # fmt: skip
def test_a_wrong_recipe_is_named(takes: str, declared: str | None, arguments: dict[str, Any], fault: str) -> None:
    capabilities = Capabilities(takes=frozenset(takes.split()), per_sample=True, volume=declared)
    with pytest.raises(SpecError) as caught:
        with_recipe("m", capabilities, arguments)
    assert fault in str(caught.value)
