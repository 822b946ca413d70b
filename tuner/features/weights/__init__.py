"""Where the backbone's weights come from, on open and on closed networks."""
