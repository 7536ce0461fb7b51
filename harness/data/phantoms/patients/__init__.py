"""Synthetic patients: images, volumes, and the questions and answers that follow from them."""
