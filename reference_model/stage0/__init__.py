"""Stage 0 of the tiny recipe: pre-training of the parts that larger presets take from public checkpoints."""
