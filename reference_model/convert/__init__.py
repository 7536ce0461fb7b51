"""From published checkpoints on disk to a model folder: parents of MedPLIB, MIMO and M3D-LaMed, and released models."""
