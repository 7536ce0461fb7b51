"""The run directory and the engines that fill it."""
