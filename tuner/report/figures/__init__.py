"""Figures: a table of numbers each, and a function that draws it."""
