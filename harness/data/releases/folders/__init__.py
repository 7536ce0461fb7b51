"""Segmentation data of one's own: folders of images, NIfTI volumes or DICOM series with their masks."""
