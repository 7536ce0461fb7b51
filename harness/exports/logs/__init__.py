"""Answers and scores of a run as logs of other harnesses, which `harness score --from-...` reads back."""
