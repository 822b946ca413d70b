"""What a study does, a verb each, from top to bottom."""
