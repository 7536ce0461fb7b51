"""Scores computed by a process beside the model, so that a run ends soon after its last answer.

The process runs where the driver runs, since the run directory is there, for both runners alike. Its scores are a
help and nothing more: whatever it did not reach, or could not do, is scored at the end of the run, and the results are
the same to the byte.
"""
