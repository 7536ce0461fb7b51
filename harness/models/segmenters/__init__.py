"""Models that turn boxes, points or concepts into masks, and text models whose boxes they follow."""
