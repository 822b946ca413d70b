"""Many machines for one study: Ray, imported here only, places the work and starts it again."""
