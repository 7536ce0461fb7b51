"""SA-Med2D-20M and MeCoVQA, whose images and masks are those of SA-Med2D-20M."""
