"""Networks of the built-in task."""
