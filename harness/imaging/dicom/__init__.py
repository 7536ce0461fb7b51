"""DICOM images, series and segmentations, read without any identifying value leaving this package."""
