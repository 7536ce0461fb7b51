"""What people read of a construction: the card, the funnel and the page on which a sample is reviewed."""
