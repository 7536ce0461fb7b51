"""MIMOSeg, which was never released: read in a documented JSON layout of our own."""
