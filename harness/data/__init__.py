"""Releases as their authors ship them, the manifests made from them, and synthetic releases (phantoms)."""
