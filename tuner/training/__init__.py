"""Losses and the heads trained with them."""
