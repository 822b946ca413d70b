"""Paths and labels, decoding, folds: all that is known of the images before any network."""
