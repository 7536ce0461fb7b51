"""MeCoVQA: complex, region and grounding questions on images of SA-Med2D-20M."""
