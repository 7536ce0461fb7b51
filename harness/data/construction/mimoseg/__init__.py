"""MIMOSeg: instructions and questions from four perspectives, answers whose words are bound to masks."""
