"""Executors: they start the processes of trials."""
