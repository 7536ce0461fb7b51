"""Construction of datasets: from images, masks and reports, by way of a model's replies, to a release in its layout.

A pipeline (`pipeline.Pipeline`) is an ordered list of steps, each a pure function. Its sources are read from a data
root; an `Ask` step turns what is known of a source into questions, a `Read` step turns replies into items, `Select`
and `Check` steps reject with a named reason, and a writer puts the items that are left into the authors' layout.
Nothing here asks a model: `harness.evaluation.constructing.construct` does, with the engine and the store of
evaluations.
"""
