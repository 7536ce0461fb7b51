"""From published checkpoints on disk to a model folder: LLaVA-1.5, CLIP, SAM-Med2D and MedPLIB."""
