"""The static leaderboard: published cells, reproduced runs and submissions side by side."""
