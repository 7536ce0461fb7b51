"""The static leaderboard: published numbers, evaluated runs and submissions side by side."""
