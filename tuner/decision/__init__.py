"""What a model decides, by what mistakes cost and how many of a class must be found."""
