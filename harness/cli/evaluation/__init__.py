"""Commands that evaluate: a model is run, stored answers are scored and judged."""
