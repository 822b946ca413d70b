"""Many workers of one study: who has which trial, and what of those that are lost."""
