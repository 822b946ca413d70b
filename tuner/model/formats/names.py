"""What inputs, outputs and the card are called in every file."""

from __future__ import annotations

CARD = "tuner.json"
PIXELS, PROBABILITIES = "pixels", "probabilities"
