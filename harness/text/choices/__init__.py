"""Named rules that read the chosen option out of a reply: our own strict ones, and those of released scoring code."""
