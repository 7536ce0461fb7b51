"""The training loop, its data, losses, optimizers, recipes and logs."""
