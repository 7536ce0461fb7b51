"""The reference pixel-grounding Mixture-of-Experts model and its training stages."""
