"""Data sets of the built-in tasks."""
