"""The adapters that come with the harness; `harness.models.resolve` finds them and everyone else's."""
