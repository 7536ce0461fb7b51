"""The pipelines of M3D: questions and regions on volumes, boxes of classes, and definitions of them."""
