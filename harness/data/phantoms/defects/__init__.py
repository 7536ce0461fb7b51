"""Known defects of each release, planted into phantoms on request."""
