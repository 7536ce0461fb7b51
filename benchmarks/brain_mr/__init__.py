"""Fine-tuning on real brain MR against the baselines."""
