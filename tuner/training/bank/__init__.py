"""The engine that trains stacked heads on features from the bank."""
