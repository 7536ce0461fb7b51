"""Images and masks of SA-Med2D-20M as sources, for the pipelines that are built on them."""
