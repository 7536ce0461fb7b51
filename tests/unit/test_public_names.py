"""The names other people's scripts use; a change here is a change of the public interface."""

import pytest

import harness
from harness.cli import main


def test_the_public_names_of_harness_are_frozen() -> None:
    assert sorted(harness.__all__) == [
        "Adapter",
        "Answer",
        "Box",
        "Capabilities",
        "Entity",
        "ErrorInfo",
        "Grid",
        "Mask",
        "Metric",
        "Points",
        "PredictedEntity",
        "Prediction",
        "Reader",
        "Region",
        "Request",
        "Resources",
        "Sample",
        "Target",
        "compare",
        "evaluate",
        "gate",
        "inspect_labels",
        "inspect_scan",
        "load_run",
        "load_scores",
        "score",
        "write_phantoms",
    ]
    assert dir(harness) == sorted(harness.__all__)
    for name in harness.__all__:
        assert getattr(harness, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'harness' has no attribute 'train'"):
        _ = harness.train


def test_the_commands_are_frozen() -> None:
    commands = {"demo", "doctor", "explain", "export", "list", "metric", "prepare", "report", "run", "score", "show"}
    commands |= {"check-adapter", "new-adapter", "new-task", "reply", "validate"}
    commands |= {"baseline", "bundle", "compare", "gate", "judge", "power"}
    commands |= {"chaos", "construct", "view", "watch"}
    assert commands == set(main.commands)


def test_the_options_of_run_are_frozen() -> None:
    # `--disturb` is hidden: `harness chaos` gives it.
    shown = [one for one in main.commands["run"].params if not getattr(one, "hidden", False)]
    options = {option for parameter in shown for option in parameter.opts}
    assert options == {
        "--tasks",
        "--model",
        "--model-args",
        "--data-root",
        "--task-path",
        "--judge",
        "--judge-args",
        "--out",
        "--limit",
        "--seed",
        "--send-data-to",
        "--workers",
        "--gpus-per-worker",
        "--batch-size",
        "--ray",
        "--timeout",
        "--load-timeout",
        "--max-failures",
        "--param",
        "--name",
        "--url",
        "--paper",
        "--params",
        "--licence",
        "--dry-run",
        "--all",
        "--quiet",
        "-q",
        "--json",
    }
