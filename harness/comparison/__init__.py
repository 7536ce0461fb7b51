"""Runs compared: paired differences, power, and the gate."""
