"""From published checkpoints on disk to a model folder: the parents of MedPLIB, MIMO and M3D-LaMed, and released models."""
