"""Numbers of a run in the forms that boards, model cards, challenges and CI read."""
