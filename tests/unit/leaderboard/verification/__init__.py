"""Tests of reading bundles."""
