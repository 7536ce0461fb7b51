"""Pixels and voxels: frames, masks, volumes, crops, resampling and what is drawn over images."""
