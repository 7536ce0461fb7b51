"""An evaluation from the command to the results: set up, plan, predict, score, write."""
