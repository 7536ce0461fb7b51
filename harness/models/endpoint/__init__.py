"""Models behind an OpenAI-compatible endpoint: chat completions, and completions for likelihoods."""
