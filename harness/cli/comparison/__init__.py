"""Commands that compare runs, judge a candidate and say what a comparison can see."""
