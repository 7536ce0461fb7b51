"""The construction of datasets: the model that is asked, the rounds of questions, and the review of what was made."""
