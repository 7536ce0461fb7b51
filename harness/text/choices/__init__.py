"""What a reply in words means, by named rule: our own strict one, and those of released scoring code."""
