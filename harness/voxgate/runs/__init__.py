"""Composes stages into measurements."""
