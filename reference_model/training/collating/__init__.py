"""From rows of questions to batches of tensors."""
