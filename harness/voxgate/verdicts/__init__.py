"""Judges whether a run is worse than before."""
