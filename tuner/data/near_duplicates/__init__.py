"""Copies of one picture that are no copies of one file: found, and grouped."""
