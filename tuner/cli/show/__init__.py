"""What a terminal or a pipe shows: tables, lines of trials, events for machines."""
