"""What an evaluation needs to score what somebody else predicted: files, folders, and logs of other harnesses."""
