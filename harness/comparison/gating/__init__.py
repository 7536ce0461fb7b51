"""The parts of the gate: policy, rows, tests, verdicts and their texts."""
