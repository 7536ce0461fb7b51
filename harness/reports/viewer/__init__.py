"""Single samples of a run as pages: image or slices with masks on top, words, scores under every protocol."""
