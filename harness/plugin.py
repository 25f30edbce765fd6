"""pytest plugin (to come)."""
