"""Data sets of the built-in task."""
