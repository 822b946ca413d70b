"""Numbers from confusion matrices; nothing is drawn here."""
