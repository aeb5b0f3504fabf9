"""Simulated workers: they train nothing, and report results from a table of real trainings."""
