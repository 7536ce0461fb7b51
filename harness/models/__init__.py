"""The adapters that come with the harness; `harness.models.reference` finds them and everyone else's."""
