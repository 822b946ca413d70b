"""The page: sections of HTML around the figures."""
