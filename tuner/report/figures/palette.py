"""The colours of figures and page, by role: apart for colour-blind readers, light and dark.

Figures are drawn in the light colours; `report.svg` turns each into the page's CSS variable.
Which setting is meant is never told by colour alone: markers, positions and texts differ too.
"""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """A colour on white paper and on the page's dark background."""

    light: str
    dark: str


ROLES = {
    "paper": Role("#ffffff", "#14181e"),
    "ink": Role("#1b2027", "#e6eaf0"),
    "muted": Role("#58626e", "#a3adb9"),
    "faint": Role("#d3d9e0", "#39414c"),
    "winner": Role("#0a5fb4", "#68b1ff"),
    "plain": Role("#6a7079", "#b3bac4"),
    "balanced": Role("#bf530a", "#f29a4e"),
    "recipe": Role("#0b8063", "#45c9a1"),
    "map": Role("#0a4f97", "#6aaaf1"),
    "warning": Role("#9c4207", "#ffb36b"),
}

PAPER, INK, MUTED, FAINT = (ROLES[role].light for role in ("paper", "ink", "muted", "faint"))
WINNER, PLAIN, BALANCED, RECIPE = (
    ROLES[role].light for role in ("winner", "plain", "balanced", "recipe")
)
MAP, WARNING = ROLES["map"].light, ROLES["warning"].light

# Colour and marker of what is compared, the winner first.
COMPARED = ((WINNER, "o"), (PLAIN, "s"), (BALANCED, "^"), (RECIPE, "D"))

# Opacity of MAP from which paper is easier to read on it than ink, on white and on dark alike.
TEXT_TURNS_AT = 0.66


def css_variables(theme: str) -> str:
    """Declarations ``--role: colour;`` of the theme "light" or "dark"."""
    return " ".join(f"--{name}: {getattr(role, theme)};" for name, role in ROLES.items())
