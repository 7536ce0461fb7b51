"""The benchmark of a large board measures results that the board takes."""

import random
from pathlib import Path

from benchmarks.scale.board import results
from harness.exports.task_card import task_cards
from leaderboard.entry_file import check_results


def test_made_up_results_are_valid_and_have_22_numbers_a_task() -> None:
    cards = [card for card in task_cards().values() if not card.members][:3]
    found = results(1, cards, random.Random(0))
    check_results(Path("results.json"), found)
    assert [len(block["metrics"]) for block in found["tasks"].values()] == [22, 22]
    assert len(found["unsupported"]) == 1
