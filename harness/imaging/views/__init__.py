"""How an image or volume is shown in place of what its file holds: painted over, cropped, or as slices."""
