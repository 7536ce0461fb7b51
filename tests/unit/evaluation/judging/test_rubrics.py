"""Rubric files: those that ship are sound, and a wrong one says where and what."""

from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.evaluation.judging.rubrics import find_rubric, load_rubric, rubric_files
from harness.tasks.catalog import index

GOOD = "rubric: own\nversion: 3\nreply: correctness\nprompt: Compare {reference} and {answer}.\n"


def test_what_ships_is_sound_and_no_task() -> None:
    found = {name: find_rubric(name) for name in rubric_files()}
    assert {name: (rubric.reply, rubric.is_pairwise, rubric.retries) for name, rubric in found.items()} == {
        "correctness": ("correctness", False, True),
        "m3d": ("m3d", False, False),
        "pairwise": ("winner", True, True),
        "report": ("findings", False, True),
    }
    assert not found.keys() & index().entries.keys()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("rubic: own\n", ":1: rubic: unknown key (did you mean 'rubric'?)"),
        (GOOD.replace("own", "other"), ":1: rubric: expected 'own', the name of its file, got 'other'"),
        (GOOD.replace("own", "o n"), ":1: rubric: expected letters, digits, - and _, got 'o n'"),
        (GOOD.replace("3", "three"), ":2: version: expected a whole number of at least 1"),
        (GOOD.replace("correctness", "corectness"), ":3: reply: expected one of 'correctness'"),
        (GOOD.replace("{answer}", "{answr}"), ":4: prompt: unknown name {answr} (did you mean 'answer'?)"),
        (GOOD.replace("{answer}", "{image}"), ":4: prompt: unknown name {image}; known: question, reference, answer"),
        (GOOD.replace("{answer}", "it"), ":4: prompt: expected {answer}: the judge does not see what it is to judge"),
        (GOOD.replace("correctness", "winner"), ":4: prompt: unknown name {answer}"),
        (f"{GOOD}decoding: {{temperature: hot}}\n", ":5: decoding.temperature: expected a number from 0 to 10"),
    ],
)
def test_a_wrong_file_says_where_and_what(tmp_path: Path, text: str, fault: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(SpecError) as error:
        load_rubric(path)
    assert f"{path}{fault}" in str(error.value)


def test_rubrics_of_ones_own_stand_beside_tasks_or_are_named_as_files(tmp_path: Path) -> None:
    folder = tmp_path / "tasks" / "family" / "rubrics"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text(GOOD)
    (folder / "m3d.yaml").write_text(GOOD.replace("own", "m3d"))
    assert find_rubric("own", (tmp_path / "tasks",)).version == 3
    assert find_rubric("m3d", (tmp_path / "tasks",)).version == 3  # in place of the packaged one
    assert find_rubric(str(folder / "own.yaml")) == find_rubric("own", (tmp_path / "tasks",))
    assert "own" not in index((tmp_path / "tasks",)).entries


def test_any_change_changes_the_digest_and_example_braces_are_words(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(GOOD + "title: t\n")
    first = load_rubric(path).record()
    path.write_text(GOOD.replace("Compare", '|\n  Reply {"verdict": 1}. Compare'))
    assert load_rubric(path).record()["digest"] != first["digest"]
    assert first["decoding"] == {"max_new_tokens": 512, "temperature": 0.0}
