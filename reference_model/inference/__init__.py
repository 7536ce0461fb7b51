"""Generation of text and masks, and the predictor behind the adapter."""
