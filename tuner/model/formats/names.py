"""What inputs, outputs and the card are called in every file."""

from __future__ import annotations

CARD = "tuner.json"
RT_INFO = ["tuner", CARD]  # where OpenVINO's IR keeps it
PIXELS, PROBABILITIES = "pixels", "probabilities"
