"""Is the winner really better? Fresh seeds and splits, then the sealed test, once."""
