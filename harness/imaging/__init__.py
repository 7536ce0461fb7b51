"""Pixels and voxels: frames, masks, volumes, crops, resampling, and drawings over images."""
