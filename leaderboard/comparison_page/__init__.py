"""The page that compares any two models in the browser, from the scores of their samples."""
