"""What the adapters of models made elsewhere cost or save."""
