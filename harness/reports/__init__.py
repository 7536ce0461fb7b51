"""Pages and texts for people: the page of a run, its examples, one sample explained, the integrity of a release."""
